/* UTF-8: the Unicode Standard's own examples of replacement (version 15, tables 3-8 to 3-11), and streams. */
#include "tests/unit/unit.h"
#include "runtime/text/utf8.h"

#define R "\xEF\xBF\xBD"

typedef struct vector {
    const char *bytes;
    size_t size;
    const char *replaced;
} vector;

#define VECTOR(bytes, replaced)                                                                              \
    {                                                                                                        \
        bytes, sizeof(bytes) - 1, replaced                                                                   \
    }

static const vector vectors[] = {
    VECTOR("", ""),
    VECTOR("plain ASCII of more than eight bytes", "plain ASCII of more than eight bytes"),
    VECTOR("\xC3\xA9\xE4\xB8\xAD\xF0\x9F\x98\x80", "\xC3\xA9\xE4\xB8\xAD\xF0\x9F\x98\x80"),
    VECTOR("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41", R R R R R R R R "A"),   /* table 3-8: non-shortest */
    VECTOR("\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41", R R R R R R R R "A"),   /* 3-9: surrogates */
    VECTOR("\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42", R R R R R "A" R R "B"), /* 3-10: other */
    VECTOR("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41", R R R R "A"),           /* 3-11: truncated */
    VECTOR("ab\xF0\x9F\x98", "ab" R),
    VECTOR("\xF4\x8F\xBF\xBF\xF0\x90\x80\x80\xE0\xA0\x80\xED\x9F\xBF\xC2\x80",
           "\xF4\x8F\xBF\xBF\xF0\x90\x80\x80\xE0\xA0\x80\xED\x9F\xBF\xC2\x80"), /* the ends of the ranges */
};

static void test_replacement(void **state)
{
    (void)state;
    for (size_t i = 0; i < COL_COUNT(vectors); i++) {
        col_str out = {0};
        const unsigned char *bytes = (const unsigned char *)vectors[i].bytes;
        col_utf8_replace(&out, bytes, vectors[i].size);
        assert_string_equal(col_str_text(&out), vectors[i].replaced);
        bool well_formed = !strstr(vectors[i].replaced, R);
        assert_int_equal(col_utf8_valid_prefix(bytes, vectors[i].size) == vectors[i].size, well_formed);
        col_str_fini(&out);
    }
}

/* A stream gives what the whole gives, wherever it is cut, and holds back only what is not decided. */
static void test_stream(void **state)
{
    (void)state;
    for (size_t i = 0; i < COL_COUNT(vectors); i++) {
        const unsigned char *bytes = (const unsigned char *)vectors[i].bytes;
        size_t size = vectors[i].size;
        for (size_t first = 0; first <= size; first++) {
            for (size_t second = first; second <= size; second++) {
                col_str out = {0};
                col_utf8_stream stream = {0};
                col_utf8_stream_push(&stream, bytes, first, &out);
                col_utf8_stream_push(&stream, bytes + first, second - first, &out);
                col_utf8_stream_push(&stream, bytes + second, size - second, &out);
                col_utf8_stream_finish(&stream, &out);
                assert_string_equal(col_str_text(&out), vectors[i].replaced);
                col_str_fini(&out);
            }
        }
    }
}

static void test_stream_holds_back(void **state)
{
    (void)state;
    col_str out = {0};
    col_utf8_stream stream = {0};
    static const unsigned char grin[] = "\xF0\x9F\x98\x80";
    for (size_t i = 0; i < 3; i++) {
        col_utf8_stream_push(&stream, grin + i, 1, &out);
        assert_int_equal(out.len, 0);
    }
    col_utf8_stream_push(&stream, grin + 3, 1, &out);
    assert_string_equal(out.data, "\xF0\x9F\x98\x80");
    col_str_fini(&out);
}

static void test_quote(void **state)
{
    (void)state;
    char out[COL_QUOTE_SIZE];
    assert_string_equal(col_text_quote(out, "a\n\xFF\xC3\xA9", 5), "a\\x0A\\xFF\xC3\xA9");
    char control[200] = {0};
    assert_int_equal(strlen(col_text_quote(out, control, sizeof control)), 40 * 4 + 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replacement),
        cmocka_unit_test(test_stream),
        cmocka_unit_test(test_stream_holds_back),
        cmocka_unit_test(test_quote),
    };
    return cmocka_run_group_tests_name("utf8", tests, NULL, NULL);
}
