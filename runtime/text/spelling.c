/* The byte-level alphabet of GPT-2. Bytes 33-126, 161-172 and 174-255 are written as the characters of the
 * same code points; the other 68, in order, as U+0100, U+0101, ... So every byte is a printable character and
 * a vocabulary is a plain text. */
#include "runtime/text/bpe.h"

static bool writes_itself(unsigned byte)
{
    return (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
}

/* How many bytes below `byte` do not write themselves. */
static unsigned shifted_below(unsigned byte)
{
    if (byte <= 32) return byte;
    if (byte <= 160) return 33 + (byte > 127 ? byte - 127 : 0);
    return 67;
}

void bpe_spelling_of_byte(unsigned char byte, char out[4])
{
    unsigned code = writes_itself(byte) ? byte : 0x100 + shifted_below(byte);
    size_t n = 0;
    if (code >= 0x80) out[n++] = (char)(0xC0 | code >> 6);
    out[n++] = (char)(code < 0x80 ? code : 0x80 | (code & 0x3F));
    out[n] = '\0';
}

static int byte_of_code(unsigned code)
{
    if (code < 0x100) return writes_itself(code) ? (int)code : -1;
    unsigned n = code - 0x100;
    if (n <= 32) return (int)n;
    if (n <= 66) return (int)(127 + n - 33);
    return n == 67 ? 173 : -1;
}

bool bpe_spelling_read(const char *text, size_t size, unsigned char *out, size_t *out_size)
{
    size_t n = 0;
    for (size_t at = 0; at < size;) {
        unsigned code = (unsigned char)text[at++];
        if (code >= 0x80) {
            /* The alphabet ends at U+0143: two bytes, the first 0xC2 to 0xC5. */
            if (code < 0xC2 || code > 0xC5 || at == size || ((unsigned char)text[at] & 0xC0) != 0x80) {
                return false;
            }
            code = (code & 0x1F) << 6 | ((unsigned char)text[at++] & 0x3F);
        }
        int byte = byte_of_code(code);
        if (byte < 0) return false;
        out[n++] = (unsigned char)byte;
    }
    *out_size = n;
    return true;
}
