/* Hugging Face's `tokenizer.json`, as far as it describes a byte-level BPE: model BPE, pre-tokenizer
 * ByteLevel, added tokens. Every part that would change ids and is not supported is refused by its name:
 * better no tokenizer than one whose ids differ a little. */
#include "runtime/text/bpe.h"

#include <stdio.h>
#include <string.h>

#include "runtime/text/json.h"
#include "runtime/text/utf8.h"

static const char *kind_or_type(const json_t *part)
{
    const char *type = json_string_value(json_object_get(part, "type"));
    return type ? type : col_json_kind(part);
}

static col_status refuse(const char *name, const char *key, const json_t *part, const char *wanted)
{
    char quoted[COL_QUOTE_SIZE];
    const char *what = kind_or_type(part);
    return col_error_make(COL_BAD_INPUT, "%s: %s: '%s' is not supported; only %s is", name, key,
                          col_text_quote(quoted, what, strlen(what)), wanted);
}

/* null, or an object of type ByteLevel where that may stand. */
static col_status check_part(const char *name, const json_t *root, const char *key, bool byte_level)
{
    const json_t *part = json_object_get(root, key);
    if (!part || json_is_null(part)) return NULL;
    if (byte_level && !strcmp(kind_or_type(part), "ByteLevel")) return NULL;
    return refuse(name, key, part, byte_level ? "null or ByteLevel" : "null");
}

static col_status read_flag(const char *name, const char *place, const json_t *object, const char *key,
                            bool missing, bool *out_value)
{
    const json_t *value = json_object_get(object, key);
    *out_value = value ? json_is_true(value) : missing;
    if (!value || json_is_boolean(value)) return NULL;
    return col_error_make(COL_BAD_INPUT, "%s: %s.%s: true or false belongs here, not %s", name, place, key,
                          col_json_kind(value));
}

static col_status read_pre_tokenizer(const char *name, const json_t *root, bpe_builder *builder)
{
    const json_t *part = json_object_get(root, "pre_tokenizer");
    if (strcmp(kind_or_type(part), "ByteLevel") != 0) return refuse(name, "pre_tokenizer", part, "ByteLevel");
    COL_TRY(read_flag(name, "pre_tokenizer", part, "add_prefix_space", true, &builder->add_prefix_space));
    return read_flag(name, "pre_tokenizer", part, "use_regex", true, &builder->use_regex);
}

/* The model's options that change ids must be off: absent, null, false, "" or 0. */
static col_status check_model(const char *name, const json_t *model)
{
    static const char *const known[] = {"type", "vocab", "merges", "ignore_merges", "fuse_unk"};
    static const char *const must_be_off[] = {"dropout", "unk_token", "continuing_subword_prefix",
                                              "end_of_word_suffix", "byte_fallback"};
    const char *key;
    json_t *value;
    char quoted[COL_QUOTE_SIZE];
    json_object_foreach((json_t *)(uintptr_t)model, key, value)
    {
        bool is_known = false, is_switch = false;
        for (size_t i = 0; i < COL_COUNT(known); i++) is_known |= !strcmp(key, known[i]);
        for (size_t i = 0; i < COL_COUNT(must_be_off); i++) is_switch |= !strcmp(key, must_be_off[i]);
        bool off = json_is_null(value) || json_is_false(value) ||
                   (json_is_string(value) && !json_string_length(value)) ||
                   (json_is_number(value) && json_number_value(value) == 0);
        if (is_known || (is_switch && off)) continue;
        return col_error_make(COL_BAD_INPUT, "%s: model.%s: this option of the model is not supported; %s",
                              name, col_text_quote(quoted, key, strlen(key)),
                              is_switch ? "it must be null" : "a byte-level BPE has none such");
    }
    return NULL;
}

static col_status read_vocab(const char *name, const json_t *model, bpe_builder *builder)
{
    const json_t *vocab = json_object_get(model, "vocab");
    if (!json_is_object(vocab)) {
        return col_error_make(COL_BAD_INPUT,
                              "%s: model.vocab: an object of tokens and ids belongs here, not %s", name,
                              vocab ? col_json_kind(vocab) : "nothing");
    }
    const char *key;
    json_t *id;
    char place[512];
    snprintf(place, sizeof place, "%.400s: model.vocab", name);
    json_object_foreach((json_t *)(uintptr_t)vocab, key, id)
    {
        if (!json_is_integer(id)) {
            char quoted[COL_QUOTE_SIZE];
            return col_error_make(COL_BAD_INPUT, "%s: the id of token \"%s\" is %s; write an integer", place,
                                  col_text_quote(quoted, key, strlen(key)), col_json_kind(id));
        }
        COL_TRY(bpe_builder_add_token(builder, place, key, strlen(key), json_integer_value(id)));
    }
    return NULL;
}

static col_status read_merge(const char *place, const json_t *row, bpe_builder *builder)
{
    if (json_is_string(row)) {
        const char *text = json_string_value(row);
        size_t size = json_string_length(row);
        const char *space = memchr(text, ' ', size);
        if (space && !memchr(space + 1, ' ', size - (size_t)(space - text) - 1)) {
            return bpe_builder_add_merge(builder, place, text, (size_t)(space - text), space + 1,
                                         size - (size_t)(space - text) - 1);
        }
    } else if (json_is_array(row) && json_array_size(row) == 2) {
        const json_t *left = json_array_get(row, 0), *right = json_array_get(row, 1);
        if (json_is_string(left) && json_is_string(right)) {
            return bpe_builder_add_merge(builder, place, json_string_value(left), json_string_length(left),
                                         json_string_value(right), json_string_length(right));
        }
    }
    return col_error_make(COL_BAD_INPUT, "%s: a merge is \"left right\" or [\"left\", \"right\"]", place);
}

static col_status read_merges(const char *name, const json_t *model, bpe_builder *builder)
{
    const json_t *merges = json_object_get(model, "merges");
    if (!json_is_array(merges)) {
        return col_error_make(COL_BAD_INPUT, "%s: model.merges: an array of merges belongs here, not %s",
                              name, merges ? col_json_kind(merges) : "nothing");
    }
    for (size_t i = 0; i < json_array_size(merges); i++) {
        char place[512];
        snprintf(place, sizeof place, "%.400s: model.merges[%zu]", name, i);
        COL_TRY(read_merge(place, json_array_get(merges, i), builder));
    }
    return NULL;
}

static col_status read_added_token(const char *name, const char *place, const json_t *row,
                                   bpe_builder *builder)
{
    static const char *const unsupported[] = {"single_word", "lstrip", "rstrip"};
    const json_t *content = json_object_get(row, "content"), *id = json_object_get(row, "id");
    if (!json_is_string(content) || !json_is_integer(id)) {
        return col_error_make(
            COL_BAD_INPUT, "%s: %s: an added token is an object with a string `content` and an integer `id`",
            name, place);
    }
    for (size_t i = 0; i < COL_COUNT(unsupported); i++) {
        bool value = false;
        COL_TRY(read_flag(name, place, row, unsupported[i], false, &value));
        if (value) {
            return col_error_make(COL_BAD_INPUT, "%s: %s.%s: true is not supported; only false is", name,
                                  place, unsupported[i]);
        }
    }
    bool is_special = false, normalized = false;
    COL_TRY(read_flag(name, place, row, "special", false, &is_special));
    COL_TRY(read_flag(name, place, row, "normalized", !is_special, &normalized));
    char full_place[512];
    snprintf(full_place, sizeof full_place, "%.400s: %s", name, place);
    return bpe_builder_add_special(builder, full_place, json_string_value(content),
                                   json_string_length(content), json_integer_value(id), normalized);
}

static col_status read_added_tokens(const char *name, const json_t *root, bpe_builder *builder)
{
    const json_t *added = json_object_get(root, "added_tokens");
    if (!added || json_is_null(added)) return NULL;
    if (!json_is_array(added)) {
        return col_error_make(COL_BAD_INPUT, "%s: added_tokens: an array belongs here, not %s", name,
                              col_json_kind(added));
    }
    for (size_t i = 0; i < json_array_size(added); i++) {
        char place[64];
        snprintf(place, sizeof place, "added_tokens[%zu]", i);
        COL_TRY(read_added_token(name, place, json_array_get(added, i), builder));
    }
    return NULL;
}

static col_status read_root(const char *name, const json_t *root, bpe_builder *builder)
{
    const json_t *model = json_object_get(root, "model");
    if (!json_is_object(model)) {
        return col_error_make(
            COL_BAD_INPUT,
            "%s: no object `model`; a tokenizer.json has one (of a vocab.json with its merges.txt, "
            "give the folder)",
            name);
    }
    const json_t *type = json_object_get(model, "type");
    if (type && strcmp(kind_or_type(model), "BPE") != 0) return refuse(name, "model", model, "BPE");
    COL_TRY(check_model(name, model));
    COL_TRY(check_part(name, root, "truncation", false));
    COL_TRY(check_part(name, root, "padding", false));
    COL_TRY(check_part(name, root, "normalizer", false));
    COL_TRY(check_part(name, root, "post_processor", true));
    COL_TRY(check_part(name, root, "decoder", true));
    COL_TRY(read_pre_tokenizer(name, root, builder));
    COL_TRY(read_flag(name, "model", model, "ignore_merges", false, &builder->ignore_merges));
    COL_TRY(read_vocab(name, model, builder));
    COL_TRY(read_merges(name, model, builder));
    return read_added_tokens(name, root, builder);
}

col_status col_tokenizer_parse_json(const char *name, const char *data, size_t size,
                                    col_tokenizer **out_tokenizer)
{
    json_t *root = NULL;
    COL_TRY(col_json_parse(name, 1, data, size, &root));
    bpe_builder builder;
    bpe_builder_init(&builder);
    col_status status = read_root(name, root, &builder);
    json_decref(root);
    char place[512];
    snprintf(place, sizeof place, "%.400s: model.vocab", name);
    if (!status) status = bpe_builder_finish(&builder, place, out_tokenizer);
    bpe_builder_fini(&builder);
    return status;
}
