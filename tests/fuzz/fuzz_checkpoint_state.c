/* state.json of a checkpoint. The checksum at its start would refuse nearly every input, so the input is what
 * follows the checksum, which is made right here; what is read is printed, read again and must print the
 * same. */
#include "runtime/store/checkpoint_state.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    col_str text = {0};
    col_str_append(&text, "{\n  \"xxh3\": \"0000000000000000");
    size_t digits = text.len - 16;
    col_str_append_bytes(&text, data, size);
    char hex[17];
    snprintf(hex, sizeof hex, "%016" PRIx64, (uint64_t)XXH3_64bits(text.data, text.len));
    memcpy(text.data + digits, hex, 16);
    col_arena *arena = col_arena_create();
    col_checkpoint_state state;
    if (!col_error_ignore(col_checkpoint_state_parse(arena, "fuzz", text.data, text.len, &state))) {
        col_str once = {0}, twice = {0};
        col_checkpoint_state again;
        bool failed =
            col_error_ignore(col_checkpoint_state_print(&state, &once)) ||
            col_error_ignore(col_checkpoint_state_parse(arena, "again", once.data, once.len, &again)) ||
            col_error_ignore(col_checkpoint_state_print(&again, &twice));
        COL_ASSERT(!failed && !strcmp(once.data, twice.data));
        col_str_fini(&once);
        col_str_fini(&twice);
    }
    col_arena_destroy(arena);
    col_str_fini(&text);
    return 0;
}
