/* Plain text and JSON lines to ids. Blocks may be cut anywhere. */
#include "runtime/data/source.h"

#include <string.h>

#include "runtime/text/json.h"

enum { LARGEST_LINE = 256 << 20 };

col_status ingest_init(ingest *in, const char *name, text_format format, const col_tokenizer *tokenizer,
                       col_token_sink sink, void *context)
{
    if (format == TEXT_JSON_LINES && col_tokenizer_end_of_text(tokenizer) < 0) {
        return col_error_make(
            COL_BAD_INPUT,
            "%s: documents of JSON lines end with an end-of-text token, but the vocabulary has "
            "neither <|endoftext|> nor </s>; add one, or give plain text",
            name);
    }
    *in = (ingest){.name = name, .format = format, .tokenizer = tokenizer, .sink = sink, .context = context};
    in->encoder = col_encoder_create(tokenizer);
    if (format == TEXT_PLAIN) col_encoder_start(in->encoder, COL_SPECIALS_PARSED, sink, context);
    return NULL;
}

void ingest_fini(ingest *in)
{
    col_encoder_destroy(in->encoder);
    col_str_fini(&in->line);
}

static col_status end_document(ingest *in)
{
    int32_t end = col_tokenizer_end_of_text(in->tokenizer);
    COL_TRY(col_encoder_finish(in->encoder));
    in->documents++;
    return end >= 0 ? in->sink(in->context, &end, 1) : NULL;
}

static bool is_blank(const char *line, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (!strchr(" \t\r\n", line[i]) || !line[i]) return false;
    }
    return true;
}

static col_status read_line(ingest *in, const char *line, size_t size)
{
    static const char byte_order_mark[] = "\xEF\xBB\xBF";
    in->line_number++;
    if (in->line_number == 1 && size >= 3 && !memcmp(line, byte_order_mark, 3)) {
        line += 3;
        size -= 3;
    }
    if (is_blank(line, size)) return NULL;
    json_t *json = NULL;
    COL_TRY(col_json_parse(in->name, in->line_number, line, size, &json));
    const json_t *text = json_object_get(json, "text");
    col_status status = NULL;
    if (!json_is_object(json)) {
        status = col_error_make(COL_BAD_INPUT,
                                "%s:%lld:1: error: this line is %s; each line of the file must be one object "
                                "such as {\"text\": \"...\"}",
                                in->name, (long long)in->line_number, col_json_kind(json));
    } else if (!json_is_string(text)) {
        status =
            col_error_make(COL_BAD_INPUT, "%s:%lld:1: error: `text` is %s; each line needs a string there",
                           in->name, (long long)in->line_number, text ? col_json_kind(text) : "missing");
    } else {
        col_encoder_start(in->encoder, COL_SPECIALS_AS_TEXT, in->sink, in->context);
        status = col_encoder_feed(in->encoder, json_string_value(text), json_string_length(text));
        if (!status) status = end_document(in);
        status = col_error_annotate(status, "%s:%lld", in->name, (long long)in->line_number);
    }
    json_decref(json);
    return status;
}

static col_status feed_lines(ingest *in, const char *bytes, size_t size)
{
    while (size) {
        const char *newline = memchr(bytes, '\n', size);
        size_t length = newline ? (size_t)(newline - bytes) : size;
        if (in->line.len + length > LARGEST_LINE) {
            return col_error_make(COL_BAD_INPUT,
                                  "%s:%lld: error: the line is longer than %d MiB; is this JSON lines?",
                                  in->name, (long long)in->line_number + 1, LARGEST_LINE >> 20);
        }
        if (!newline) {
            col_str_append_bytes(&in->line, bytes, size);
            break;
        }
        if (in->line.len) {
            col_str_append_bytes(&in->line, bytes, length);
            COL_TRY(read_line(in, in->line.data, in->line.len));
            col_str_clear(&in->line);
        } else {
            COL_TRY(read_line(in, bytes, length));
        }
        bytes += length + 1;
        size -= length + 1;
    }
    return NULL;
}

col_status ingest_feed(ingest *in, const char *bytes, size_t size)
{
    if (in->format == TEXT_JSON_LINES) return feed_lines(in, bytes, size);
    return col_error_annotate(col_encoder_feed(in->encoder, bytes, size), "%s", in->name);
}

col_status ingest_finish(ingest *in)
{
    if (in->format == TEXT_PLAIN) return col_error_annotate(end_document(in), "%s", in->name);
    if (in->line.len) COL_TRY(read_line(in, in->line.data, in->line.len));
    if (in->documents) return NULL;
    return col_error_make(COL_BAD_INPUT, "%s: no document in it; write one {\"text\": \"...\"} a line",
                          in->name);
}
