#include "runtime/text/utf8.h"

#include <stdio.h>
#include <string.h>

/* Bytes that follow the lead, and the range of the first of them; 0 for a byte that leads nothing. */
static unsigned follow(unsigned char lead, unsigned char *low, unsigned char *high)
{
    *low = 0x80;
    *high = 0xBF;
    if (lead >= 0xC2 && lead <= 0xDF) return 1;
    if (lead >= 0xE0 && lead <= 0xEF) {
        if (lead == 0xE0) *low = 0xA0;
        if (lead == 0xED) *high = 0x9F; /* no surrogates */
        return 2;
    }
    if (lead >= 0xF0 && lead <= 0xF4) {
        if (lead == 0xF0) *low = 0x90;
        if (lead == 0xF4) *high = 0x8F;
        return 3;
    }
    return 0;
}

size_t col_utf8_next(const unsigned char *bytes, size_t size, col_utf8_kind *out_kind)
{
    unsigned char low = 0, high = 0;
    *out_kind = COL_UTF8_VALID;
    if (bytes[0] < 0x80) return 1;
    unsigned more = follow(bytes[0], &low, &high);
    *out_kind = COL_UTF8_INVALID;
    if (!more) return 1;
    for (unsigned i = 1; i <= more; i++) {
        if (i == size) {
            *out_kind = COL_UTF8_INCOMPLETE;
            return i;
        }
        if (bytes[i] < low || bytes[i] > high) return i;
        low = 0x80;
        high = 0xBF;
    }
    *out_kind = COL_UTF8_VALID;
    return more + 1;
}

size_t col_utf8_valid_prefix(const unsigned char *bytes, size_t size)
{
    size_t at = 0;
    while (at < size) {
        uint64_t eight;
        while (size - at >= sizeof eight) {
            memcpy(&eight, bytes + at, sizeof eight);
            if (eight & 0x8080808080808080u) break;
            at += sizeof eight;
        }
        if (at == size) break;
        col_utf8_kind kind;
        size_t length = col_utf8_next(bytes + at, size - at, &kind);
        if (kind != COL_UTF8_VALID) break;
        at += length;
    }
    return at;
}

static const char replacement[] = "\xEF\xBF\xBD";

void col_utf8_replace(col_str *out, const unsigned char *bytes, size_t size)
{
    for (size_t at = 0; at < size;) {
        size_t valid = col_utf8_valid_prefix(bytes + at, size - at);
        if (valid) col_str_append_bytes(out, bytes + at, valid);
        at += valid;
        if (at == size) break;
        col_utf8_kind kind;
        at += col_utf8_next(bytes + at, size - at, &kind);
        col_str_append_bytes(out, replacement, 3);
    }
}

void col_utf8_stream_push(col_utf8_stream *stream, const unsigned char *bytes, size_t size, col_str *out)
{
    col_utf8_kind kind;
    /* A held character takes bytes one by one until it is decided. An ill-formed one gives its last byte
     * back, since that may begin the next character. */
    while (stream->held_size && size) {
        stream->held[stream->held_size++] = *bytes;
        size_t length = col_utf8_next(stream->held, stream->held_size, &kind);
        if (kind == COL_UTF8_INCOMPLETE) {
            bytes++;
            size--;
            continue;
        }
        if (kind == COL_UTF8_VALID) {
            col_str_append_bytes(out, stream->held, length);
            bytes++;
            size--;
        } else {
            col_str_append_bytes(out, replacement, 3);
        }
        stream->held_size = 0;
    }
    while (size) {
        size_t valid = col_utf8_valid_prefix(bytes, size);
        if (valid) col_str_append_bytes(out, bytes, valid);
        bytes += valid;
        size -= valid;
        if (!size) break;
        size_t length = col_utf8_next(bytes, size, &kind);
        if (kind == COL_UTF8_INCOMPLETE) {
            memcpy(stream->held, bytes, size);
            stream->held_size = (unsigned)size;
            break;
        }
        col_str_append_bytes(out, replacement, 3);
        bytes += length;
        size -= length;
    }
}

void col_utf8_stream_finish(col_utf8_stream *stream, col_str *out)
{
    if (stream->held_size) col_str_append_bytes(out, replacement, 3);
    stream->held_size = 0;
}

const char *col_text_quote(char out[COL_QUOTE_SIZE], const void *bytes, size_t size)
{
    enum { SHOWN = 40 };
    const unsigned char *text = bytes;
    size_t at = 0, put = 0;
    while (at < size && at < SHOWN) {
        col_utf8_kind kind;
        size_t length = col_utf8_next(text + at, size - at, &kind);
        if (kind != COL_UTF8_VALID || text[at] < 0x20 || text[at] == 0x7F) {
            put += (size_t)sprintf(out + put, "\\x%02X", text[at]);
            at++;
        } else {
            memcpy(out + put, text + at, length);
            put += length;
            at += length;
        }
    }
    strcpy(out + put, at < size ? "..." : "");
    return out;
}
