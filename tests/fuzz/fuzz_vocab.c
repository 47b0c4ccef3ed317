/* vocab.json and merges.txt from arbitrary bytes: the vocabulary, a NUL, the merges, a NUL, a text. An input
 * that begins with '@' has, instead of a vocabulary, members that are added to a good one. */
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { VOCAB, MERGES, TEXT, PARTS };
    if (size > 1 << 16) return 0;
    const uint8_t *part[PARTS], *at = data, *end = data + size;
    size_t part_size[PARTS];
    for (int i = 0; i < PARTS; i++) {
        const uint8_t *stop = i < TEXT && at < end ? memchr(at, 0, (size_t)(end - at)) : NULL;
        part[i] = at;
        part_size[i] = (size_t)((stop ? stop : end) - at);
        at = stop ? stop + 1 : end;
    }
    col_str vocab = {0};
    if (part_size[VOCAB] && part[VOCAB][0] == '@') {
        col_str_append_bytes(&vocab, good_vocabulary()->data, good_vocabulary()->len - 1); /* no brace */
        col_str_append_bytes(&vocab, part[VOCAB] + 1, part_size[VOCAB] - 1);
        col_str_append(&vocab, "}");
    } else {
        col_str_append_bytes(&vocab, part[VOCAB], part_size[VOCAB]);
    }
    col_tokenizer *tokenizer = NULL;
    if (!check_error(col_tokenizer_parse_bpe("vocab.json", col_str_text(&vocab), vocab.len, "merges.txt",
                                             (const char *)part[MERGES], part_size[MERGES], &tokenizer))) {
        check_tokenizer(tokenizer, part[TEXT], part_size[TEXT]);
        col_tokenizer_destroy(tokenizer);
    }
    col_str_fini(&vocab);
    return 0;
}
