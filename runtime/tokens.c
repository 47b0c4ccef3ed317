#include "runtime/tokens.h"

#include <string.h>

#include "ir/base/file.h"
#include "runtime/store/checkpoint_folder.h"
#include "runtime/store/checkpoint_state.h"

col_status col_tokens_open(const char *name, int64_t bound, bool asked, col_tokenizer **out_tokenizer)
{
    col_tokenizer *tokenizer = NULL;
    if (!strcmp(name, COL_TOKENIZER_BYTES))
        tokenizer = col_tokenizer_bytes();
    else
        COL_TRY(col_tokenizer_load(name, &tokenizer));
    int64_t size = col_tokenizer_size(tokenizer);
    *out_tokenizer = tokenizer;
    if (!bound || size <= bound) return NULL;
    col_tokenizer_destroy(tokenizer);
    *out_tokenizer = NULL;
    if (!asked) return NULL;
    return col_error_make(
        COL_BAD_INPUT,
        "the tokenizer '%s' has %lld tokens and the model's table %lld rows: compile the model with "
        "a larger vocabulary, or give its own tokenizer",
        name, (long long)size, (long long)bound);
}

static const char *find_files(col_arena *arena, const char *folder)
{
    if (col_file_exists(col_arena_printf(arena, "%s/tokenizer.json", folder))) return folder;
    if (col_file_exists(col_arena_printf(arena, "%s/vocab.json", folder)) &&
        col_file_exists(col_arena_printf(arena, "%s/merges.txt", folder))) {
        return folder;
    }
    return NULL;
}

/* The scalar `tokenizer` of a step folder. */
static col_status read_saved(col_arena *arena, const char *folder, const char **out_name)
{
    enum { STATE_LIMIT = 64 << 20 };
    char *path = col_arena_printf(arena, "%s/state.json", folder), *text;
    size_t size;
    col_checkpoint_state state;
    COL_TRY(col_file_read(arena, path, STATE_LIMIT, &text, &size));
    COL_TRY(col_checkpoint_state_parse(arena, path, text, size, &state));
    for (size_t i = 0; i < state.scalar_count; i++) {
        const col_scalar *s = &state.scalars[i];
        if (s->kind == COL_SCALAR_TEXT && !strcmp(s->key, "tokenizer") && strcmp(s->text, COL_TOKENIZER_NONE))
            *out_name = s->text;
    }
    return NULL;
}

/* From the newest checkpoint whose state can be read (its weights are judged by who loads them). */
static const char *find_saved(col_arena *arena, const char *weights)
{
    const char *name = NULL;
    if (!col_error_ignore(read_saved(arena, weights, &name)) && name) return name;
    col_steps steps = {0};
    if (col_error_ignore(col_steps_list(arena, weights, &steps))) return NULL;
    for (size_t i = 0; i < steps.len && !name; i++)
        col_error_ignore(read_saved(arena, col_step_path(arena, weights, steps.data[i]), &name));
    return name;
}

const char *col_tokens_of_weights(col_arena *arena, const char *weights)
{
    const char *name = find_files(arena, weights), *slash = strrchr(weights, '/');
    if (!name) name = find_saved(arena, weights);
    if (!name && !col_file_exists(col_arena_printf(arena, "%s/.", weights))) { /* a file: its folder */
        size_t size = slash ? (size_t)(slash - weights) : 0;
        name = find_files(arena, size ? col_arena_strndup(arena, weights, size) : ".");
    }
    return name ? name : COL_TOKENIZER_BYTES;
}
