/* Runs a fuzz target over files: every file of the folders given and every file given, and the empty input.
 * The corpus is thereby an ordinary test, and a crashing input can be run in a debugger:
 *     build/tests/fuzz/replay_base crash-0123abcd */
#include "ir/base/file.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The input in a heap block of exactly its size, so that the sanitizers see any read beyond it. */
static void run_bytes(const char *data, size_t size)
{
    uint8_t *exact = calloc(size ? size : 1, 1);
    if (!exact) COL_PANIC("out of memory");
    if (size) memcpy(exact, data, size);
    LLVMFuzzerTestOneInput(exact, size);
    free(exact);
}

static col_status run_file(const char *path)
{
    col_arena *arena = col_arena_create();
    char *data = NULL;
    size_t size = 0;
    col_status status = col_file_read(arena, path, 0, &data, &size);
    if (!status) run_bytes(data, size);
    col_arena_destroy(arena);
    return status;
}

static col_status run_folder(const char *folder, size_t *count)
{
    struct dirent **entries = NULL;
    int found = scandir(folder, &entries, NULL, alphasort);
    if (found < 0) return col_error_make(COL_BAD_INPUT, "cannot list '%s'", folder);
    col_status status = NULL;
    for (int i = 0; i < found; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
        if (entries[i]->d_name[0] != '.' && !status) {
            status = run_file(path);
            ++*count;
        }
        free(entries[i]);
    }
    free(entries);
    return status;
}

int main(int argc, char **argv)
{
    size_t count = 0;
    col_status status = NULL;
    run_bytes(NULL, 0);
    for (int i = 1; i < argc && !status; i++) {
        struct stat info;
        if (stat(argv[i], &info) == 0 && S_ISDIR(info.st_mode)) {
            status = run_folder(argv[i], &count);
        } else {
            status = run_file(argv[i]);
            count++;
        }
    }
    if (!status && !count) status = col_error_make(COL_BAD_INPUT, "no inputs: name a corpus folder or files");
    if (status) {
        fprintf(stderr, "error: %s\n", col_error_message(status));
        int code = (int)col_error_code(status);
        col_error_free(status);
        return code;
    }
    printf("%zu inputs\n", count);
    return 0;
}
