/* Weights in files of any origin: which stored tensor is which variable. Files may keep a variable under another
 * name, in a smaller floating-point type, and beside tensors that hold nothing trained. */
#ifndef COL_STORE_WEIGHTS_H
#define COL_STORE_WEIGHTS_H

#include "runtime/store/safetensors.h"

/* A variable that wants its values. */
typedef struct col_wanted_tensor {
    const char *name;
    col_store_dtype dtype;
    uint32_t rank;
    const int64_t *shape;
} col_wanted_tensor;

typedef struct col_weights_rule {
    bool
        is_foreign; /* other names and types are taken, and buffers passed over; else all must be as wanted */
    const char *remedy; /* ends the error */
} col_weights_rule;

/* Finds every wanted tensor: `out_tensors` gets one for each, in order. In foreign files a name may lack or have
 * a prefix of Hugging Face's models ("transformer.", "model.", "bert.", "vit."), be a TensorFlow one
 * (LayerNorm.gamma), or that of Hugging Face's ResNet; F16 and BF16 go where F32 is wanted. What is missing, of
 * another shape or type, or superfluous is one COL_BAD_INPUT error that lists it; `path` is for its text.
 * Superfluous are not: causal masks, positions, counts of batches, copies of a tensor that is tied, and the
 * heads that BERT and ViT have beside the one that is wanted. */
COL_MUST_USE col_status col_weights_match(const col_safetensors *set, const char *path,
                                          const col_wanted_tensor *wanted, size_t count,
                                          col_weights_rule rule, col_arena *arena,
                                          const col_stored_tensor **out_tensors);

/* Refuses a file that exists but, links followed, lies outside the folder. The blobs of Hugging Face's cache, to
 * which the files of a folder `snapshots/REVISION` link, count as inside. */
COL_MUST_USE col_status col_weights_confine(const char *folder, const char *path);

/* The name of a torchvision ResNet's variable in Hugging Face's ResNetForImageClassification, in the arena; NULL
 * for other names. */
const char *col_weights_resnet_name(const char *name, col_arena *arena);

/* `count` elements of F16 or BF16 as F32, which holds each of them exactly (a NaN stays a NaN of the same
 * bits). */
void col_weights_widen(col_store_dtype dtype, const void *from, size_t count, float *to);

#endif
