/* Checkpoints of training: folders that a killed, full or failing machine cannot spoil.
 *
 *     DIR/step_00000100/model.safetensors       weights (or shards and an index, beyond 5 GB)
 *                       optimizer.safetensors   moments and other state
 *                       state.json              step, scalars, and the files with sizes and checksums
 *     DIR/latest                                "step_00000100\n"
 *
 * A checkpoint is made in a temporary folder, state.json last, and renamed into place when all of it is on
 * the disk; only then does `latest` name it. state.json carries its own checksum and that of each file's
 * header, which carries those of the tensors: no byte can change unnoticed.
 *
 * state.json is {"xxh3", "format": "colc-checkpoint", "version": 1, "library_version", "step",
 * "files": [{"name", "bytes", "header_xxh3"}], "scalars": {…}}; "xxh3" is of the whole text with its own 16
 * digits as zeros. Scalars are JSON integers, reals and strings; a real that is not finite is {"real":
 * "nan"}. */
#ifndef COL_STORE_CHECKPOINT_H
#define COL_STORE_CHECKPOINT_H

#include "runtime/store/safetensors.h"

typedef enum col_scalar_kind { COL_SCALAR_INT, COL_SCALAR_REAL, COL_SCALAR_TEXT } col_scalar_kind;

/* What a run must know to go on, beside its tensors. Unsigned 64-bit values travel as their int64_t cast;
 * longer series (a loss history) are better an F64 tensor of kind state. */
typedef struct col_scalar {
    const char *key;
    col_scalar_kind kind;
    int64_t integer;
    double real;
    const char *text;
} col_scalar;

#define COL_SCALAR_OF_INT(k, v)  ((col_scalar){.key = (k), .kind = COL_SCALAR_INT, .integer = (v)})
#define COL_SCALAR_OF_REAL(k, v) ((col_scalar){.key = (k), .kind = COL_SCALAR_REAL, .real = (v)})
#define COL_SCALAR_OF_TEXT(k, v) ((col_scalar){.key = (k), .kind = COL_SCALAR_TEXT, .text = (v)})

/* Keys that every training run writes. */
#define COL_KEY_SEED          "seed"          /* integer */
#define COL_KEY_DATA_POSITION "data_position" /* integer: samples drawn so far */
#define COL_KEY_RNG_COUNTER   "rng_counter"   /* integer */
#define COL_KEY_PLAN_HASH     "plan_hash"     /* text: of the plan, 16 hex digits */
#define COL_KEY_SOURCE_HASH   "source_hash"   /* text: of the model's source */
#define COL_KEY_MODEL         "model"         /* text: name */
#define COL_KEY_SETTINGS      "settings"      /* text: as --set, comma-separated */

typedef struct col_checkpoint_contents {
    int64_t step;
    const col_tensor_source *weights;
    size_t weight_count;
    const col_tensor_source *states;
    size_t state_count;
    const col_scalar *scalars;
    size_t scalar_count;
    uint64_t shard_bytes; /* 0: COL_SAFETENSORS_SHARD_BYTES */
} col_checkpoint_contents;

/* Writes DIR/step_N (making DIR; replacing a step_N that is there only when the new one is whole), then
 * `latest`. After a failure (COL_DEVICE when the disk is full) earlier checkpoints are as they were and
 * nothing half-made stays. Temporary folders of processes that died are removed. One process writes into a
 * DIR at a time. */
COL_MUST_USE col_status col_checkpoint_write(const char *dir, const col_checkpoint_contents *contents);

/* Makes DIR if need be and tries to write into it: for the start of a run, long before the first save. */
COL_MUST_USE col_status col_checkpoint_prepare(const char *dir);

/* Removes checkpoints older than the one that `latest` names, but for the `keep` (>= 1) newest including it,
 * and only after reading that one back whole; if it is damaged nothing is removed, which the error says.
 * Steps beyond the latest (of another run) are left alone, and so are files that no checkpoint lists. */
COL_MUST_USE col_status col_checkpoint_prune(const char *dir, size_t keep);

typedef struct col_checkpoint {
    col_arena *arena;
    const char *path; /* DIR/step_N */
    int64_t step;
    const char *library_version;
    const col_scalar *scalars;
    size_t scalar_count;
    col_safetensors *weights;
    col_safetensors *states;
} col_checkpoint;

/* Opens DIR's newest valid checkpoint, or the one at DIR itself if that is a step folder, and verifies every
 * byte of it. A damaged one is passed over for the one before it; `*out_notice` then says what was wrong with
 * which (NULL otherwise; owned by the checkpoint). COL_BAD_INPUT when none is valid, saying why of each. */
COL_MUST_USE col_status col_checkpoint_open(const char *dir, col_checkpoint **out_checkpoint,
                                            const char **out_notice);
void col_checkpoint_close(col_checkpoint *checkpoint); /* NULL is fine */
/* The path of that checkpoint, in the arena, without keeping it open. */
COL_MUST_USE col_status col_checkpoint_find(col_arena *arena, const char *dir, const char **out_path,
                                            const char **out_notice);

/* Scalars by name: COL_BAD_INPUT when there is none or it is of another kind. Texts live in the checkpoint.
 */
COL_MUST_USE col_status col_checkpoint_int(const col_checkpoint *checkpoint, const char *key, int64_t *out);
COL_MUST_USE col_status col_checkpoint_real(const col_checkpoint *checkpoint, const char *key, double *out);
COL_MUST_USE col_status col_checkpoint_text(const col_checkpoint *checkpoint, const char *key,
                                            const char **out);

/* Opens weights from whatever a user may point at: a .safetensors file, an index, a Hugging Face folder, a
 * step folder, or a folder of checkpoints (the newest valid one). Notice as in col_checkpoint_open, in the
 * arena. */
COL_MUST_USE col_status col_weights_open(col_arena *arena, const char *path, col_safetensors **out_weights,
                                         const char **out_notice);

#endif
