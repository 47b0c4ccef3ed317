/* For store_files.py, which compares our files with what the libraries of their formats read and write:
 *     store_files safetensors IN OUT    reads a file or a folder and writes the same tensors
 *     store_files shards IN FOLDER N    the same, into shards of at most N bytes
 *     store_files npy IN OUT
 *     store_files events FOLDER         100 steps, then 50 more after resuming at step 80 */
#include "runtime/store/npy.h"
#include "runtime/store/safetensors.h"
#include "runtime/store/tensorboard.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static col_status write_tensors(const col_safetensors *set, const char *out, const char *limit)
{
    size_t count = col_safetensors_count(set);
    col_tensor_source *sources = calloc(count + 1, sizeof *sources);
    if (!sources) COL_PANIC("out of memory");
    for (size_t i = 0; i < count; i++) {
        const col_stored_tensor *t = col_safetensors_at(set, i);
        sources[i] = (col_tensor_source){
            .name = t->name, .dtype = t->dtype, .rank = t->rank, .shape = t->shape, .data = t->data};
    }
    col_status status =
        limit ? col_safetensors_write_base(out, "model", sources, count, NULL, 0, strtoull(limit, NULL, 10))
              : col_safetensors_write(out, sources, count, NULL, 0);
    free(sources);
    return status;
}

static col_status copy_tensors(const char *in, const char *out, const char *limit)
{
    col_safetensors *set = NULL;
    COL_TRY(col_safetensors_open(in, &set));
    col_status status = col_safetensors_verify(set, NULL);
    if (!status) status = write_tensors(set, out, limit);
    col_safetensors_close(set);
    return status;
}

static col_status copy_npy(const char *in, const char *out)
{
    col_npy array;
    COL_TRY(col_npy_open(in, &array));
    col_status status = col_npy_write(out, array.dtype, array.rank, array.shape, array.data);
    col_npy_close(&array);
    return status;
}

static col_status write_events(const char *folder, int64_t resume, int64_t last)
{
    col_tensorboard *board = NULL;
    COL_TRY(col_tensorboard_open(folder, resume, &board));
    col_status status = NULL;
    for (int64_t step = resume < 0 ? 1 : resume + 1; !status && step <= last; step++) {
        col_tag_value values[] = {{"train/loss", (resume < 0 ? 10.0 : 20.0) / (double)step},
                                  {"train/lr", 3e-4}};
        status = col_tensorboard_write(board, step, values, COL_COUNT(values));
    }
    col_tensorboard_close(board);
    return status;
}

static col_status run(int argc, char **argv)
{
    const char *verb = argc > 2 ? argv[1] : "";
    if (!strcmp(verb, "safetensors") && argc == 4) return copy_tensors(argv[2], argv[3], NULL);
    if (!strcmp(verb, "shards") && argc == 5) return copy_tensors(argv[2], argv[3], argv[4]);
    if (!strcmp(verb, "npy") && argc == 4) return copy_npy(argv[2], argv[3]);
    if (!strcmp(verb, "events") && argc == 3) {
        COL_TRY(write_events(argv[2], -1, 100));
        return write_events(argv[2], 80, 130);
    }
    return col_error_make(COL_BAD_INPUT,
                          "usage: store_files safetensors|shards|npy|events …; see the source");
}

int main(int argc, char **argv)
{
    col_status status = run(argc, argv);
    int code = (int)col_error_code(status);
    if (status) fprintf(stderr, "error: %s\n", col_error_message(status));
    col_error_free(status);
    return code;
}
