/* UTF-8 as the Unicode Standard's table 3-7 defines it, and the replacement of what is not.
 *
 * Ill-formed bytes become U+FFFD, one for each maximal subpart (Unicode 15, 3.9, "U+FFFD Substitution of
 * Maximal Subparts"). Python's bytes.decode('utf-8', errors='replace') follows the same rule, and that is how
 * the reference tokenizers, which take strings only, come to read arbitrary bytes. */
#ifndef COL_TEXT_UTF8_H
#define COL_TEXT_UTF8_H

#include "ir/base/str.h"

typedef enum col_utf8_kind {
    COL_UTF8_VALID,      /* one character */
    COL_UTF8_INVALID,    /* one maximal ill-formed subpart */
    COL_UTF8_INCOMPLETE, /* the bytes end inside what could become a character */
} col_utf8_kind;

/* Length in bytes of what stands at `bytes` (size > 0), and what it is. */
size_t col_utf8_next(const unsigned char *bytes, size_t size, col_utf8_kind *out_kind);
/* Length of the longest prefix that is well-formed. */
size_t col_utf8_valid_prefix(const unsigned char *bytes, size_t size);
/* Appends the bytes with every ill-formed part replaced by U+FFFD. */
void col_utf8_replace(col_str *out, const unsigned char *bytes, size_t size);

/* Text that arrives in pieces, such as tokens that are printed as they are generated: a character that is cut
 * between pieces is held back until it is whole. Zero-initialise. */
typedef struct col_utf8_stream {
    unsigned char held[4];
    unsigned held_size;
} col_utf8_stream;

/* Appends to `out` what is whole by now, ill-formed parts replaced. */
void col_utf8_stream_push(col_utf8_stream *stream, const unsigned char *bytes, size_t size, col_str *out);
/* The text is over: what is still held is ill-formed. */
void col_utf8_stream_finish(col_utf8_stream *stream, col_str *out);

/* `bytes` as text for an error message: at most 40 bytes, control and ill-formed bytes as \xNN. */
enum { COL_QUOTE_SIZE = 192 };
const char *col_text_quote(char out[COL_QUOTE_SIZE], const void *bytes, size_t size);

#endif
