/* GPT-2's pre-tokenizer:
 *
 *     's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
 *
 * Written here with possessive repeats, where the original can never use a shorter one, so that a run of any
 * length is matched in one pass without stack; and with white space spelled out as the Unicode property
 * White_Space, because PCRE2's \s (with UCP) also takes U+180E. */
#include "runtime/text/bpe.h"

#define SPACE                                                                                                \
    "\\x{09}-\\x{0D}\\x{20}\\x{85}\\x{A0}\\x{1680}\\x{2000}-\\x{200A}\\x{2028}\\x{2029}\\x{202F}\\x{205F}"   \
    "\\x{3000}"

static const char pattern[] = "'(?:[stmd]|re|ve|ll)"
                              "| ?+\\p{L}++"
                              "| ?+\\p{N}++"
                              "| ?+[^" SPACE "\\p{L}\\p{N}]++"
                              "|[" SPACE "]+(?![^" SPACE "])"
                              "|[" SPACE "]++";

col_status bpe_compile_pattern(col_tokenizer *tokenizer)
{
    int error = 0;
    PCRE2_SIZE offset = 0;
    tokenizer->pattern =
        pcre2_compile((PCRE2_SPTR)pattern, sizeof pattern - 1, PCRE2_UTF, &error, &offset, NULL);
    if (!tokenizer->pattern) {
        char message[160] = "";
        pcre2_get_error_message(error, (PCRE2_UCHAR *)message, sizeof message);
        return col_error_make(COL_INTERNAL, "this PCRE2 cannot compile the pre-tokenizer: %s", message);
    }
    /* Without JIT (a hardened kernel, another processor) the interpreter does the same, slower. */
    tokenizer->pattern_is_jit = pcre2_jit_compile(tokenizer->pattern, PCRE2_JIT_COMPLETE) == 0;
    return NULL;
}
