/* `vocab.json` (an object: token -> id) and `merges.txt` (a pair a line, in order of rank), as GPT-2 came.
 *
 * Lines that begin with "#version" are comments. Every merge must join two tokens of the vocabulary into a
 * third, every token must come out of a merge, and the ids must be dense: so a file that was cut short,
 * damaged, or that belongs to another vocabulary, does not pass. */
#include "runtime/text/bpe.h"

#include <string.h>

#include "runtime/text/json.h"
#include "runtime/text/utf8.h"

static col_status read_vocab(bpe_builder *builder, const char *name, const json_t *vocab)
{
    if (!json_is_object(vocab) || !json_object_size(vocab)) {
        return col_error_make(COL_BAD_INPUT,
                              "%s: a vocabulary is an object of tokens and their ids, but this is %s", name,
                              json_is_object(vocab) ? "an empty one" : col_json_kind(vocab));
    }
    const char *key;
    json_t *id;
    json_object_foreach((json_t *)(uintptr_t)vocab, key, id)
    {
        if (!json_is_integer(id)) {
            char quoted[COL_QUOTE_SIZE];
            return col_error_make(COL_BAD_INPUT, "%s: the id of token \"%s\" is %s; write an integer", name,
                                  col_text_quote(quoted, key, strlen(key)), col_json_kind(id));
        }
        COL_TRY(bpe_builder_add_token(builder, name, key, strlen(key), json_integer_value(id)));
    }
    return NULL;
}

static col_status read_merges(bpe_builder *builder, const char *name, const char *text, size_t size)
{
    static const char version[] = "#version";
    const char *end = text + size;
    size_t line = 0;
    for (const char *at = text; at < end;) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        const char *stop = newline ? newline : end;
        size_t length = (size_t)(stop - at);
        if (length && at[length - 1] == '\r') length--;
        const char *row = at;
        char place[COL_QUOTE_SIZE + 64], quoted[COL_QUOTE_SIZE];
        line++;
        at = newline ? newline + 1 : end;
        if (length >= sizeof version - 1 && !memcmp(row, version, sizeof version - 1)) continue;
        const char *space = memchr(row, ' ', length);
        snprintf(place, sizeof place, "%.200s:%zu", name, line);
        if (!space || memchr(space + 1, ' ', (size_t)(row + length - space - 1))) {
            return col_error_make(COL_BAD_INPUT,
                                  "%s: a merge is two tokens with one space between, but this line is \"%s\"",
                                  place, col_text_quote(quoted, row, length));
        }
        COL_TRY(bpe_builder_add_merge(builder, place, row, (size_t)(space - row), space + 1,
                                      (size_t)(row + length - space - 1)));
    }
    return NULL;
}

col_status col_tokenizer_parse_bpe(const char *vocab_name, const char *vocab, size_t vocab_size,
                                   const char *merges_name, const char *merges, size_t merges_size,
                                   col_tokenizer **out_tokenizer)
{
    json_t *json = NULL;
    COL_TRY(col_json_parse(vocab_name, 1, vocab, vocab_size, &json));
    bpe_builder builder;
    bpe_builder_init(&builder);
    col_status status = read_vocab(&builder, vocab_name, json);
    json_decref(json);
    if (!status) status = read_merges(&builder, merges_name, merges, merges_size);
    if (!status) status = bpe_builder_check_complete(&builder, vocab_name, merges_name);
    if (!status) status = bpe_builder_add_end_of_text(&builder, vocab_name);
    if (!status) status = bpe_builder_finish(&builder, vocab_name, out_tokenizer);
    bpe_builder_fini(&builder);
    return status;
}
