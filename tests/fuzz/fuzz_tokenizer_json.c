/* tokenizer.json from arbitrary bytes, and a text for what was loaded. A vocabulary needs a token for each of
 * the 256 bytes, which a fuzzer does not find; so an input that begins with '@' is put into a good file
 * instead: four parts with NULs between, that are members of the root, members of the model, merges, and the
 * text. */
#include "tests/fuzz/tokenizer_checks.h"
#include "tests/unit/small_vocabulary.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Made once: the fuzzer's time is for what is tested. */
static const col_str *good_vocabulary(void)
{
    static col_str text;
    if (!text.len) small_vocabulary(&text, small_pairs, COL_COUNT(small_pairs));
    return &text;
}

static void run(const char *json, size_t json_size, const uint8_t *text, size_t text_size)
{
    col_tokenizer *tokenizer = NULL;
    if (check_error(col_tokenizer_parse_json("tokenizer.json", json, json_size, &tokenizer))) return;
    check_tokenizer(tokenizer, text, text_size);
    col_tokenizer_destroy(tokenizer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { ROOT, MODEL, MERGES, TEXT, PARTS };
    if (size > 1 << 16) return 0;
    if (!size || data[0] != '@') {
        run((const char *)data, size, data, size);
        return 0;
    }
    const uint8_t *part[PARTS], *at = data + 1, *end = data + size;
    size_t part_size[PARTS];
    for (int i = 0; i < PARTS; i++) {
        const uint8_t *stop = i < TEXT && at < end ? memchr(at, 0, (size_t)(end - at)) : NULL;
        part[i] = at;
        part_size[i] = (size_t)((stop ? stop : end) - at);
        at = stop ? stop + 1 : end;
    }
    col_str json = {0};
    col_str_append(&json, "{");
    col_str_append_bytes(&json, part[ROOT], part_size[ROOT]);
    col_str_append(&json, "\"model\": {");
    col_str_append_bytes(&json, part[MODEL], part_size[MODEL]);
    col_str_append(&json, "\"vocab\": ");
    col_str_append_bytes(&json, good_vocabulary()->data, good_vocabulary()->len);
    col_str_append(&json, ", \"merges\": [");
    col_str_append_bytes(&json, part[MERGES], part_size[MERGES]);
    col_str_append(&json, "]}}");
    run(json.data, json.len, part[TEXT], part_size[TEXT]);
    col_str_fini(&json);
    return 0;
}
