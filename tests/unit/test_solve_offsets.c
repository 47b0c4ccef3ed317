/* colc solve offsets: good files, and every way in which a file can be bad. The MiniMalloc instances are
 * solved where COL_TEST_DATA (default ../shared/data) holds them. */
#include "tests/unit/temporary_folder.h"
#include "frontend/solve.h"

static col_status command(folder *f, const char *csv, const char *capacity)
{
    char *in = folder_file(f, "in.csv"), *out = folder_file(f, "out.csv");
    assert_ok(col_file_write(in, csv, strlen(csv)));
    char *argv[] = {in, "-o", out, "--time-limit", "60", "--capacity", (char *)capacity};
    return col_solve_offsets_command(capacity ? 7 : 5, argv);
}

static const char *answer(folder *f)
{
    char *text;
    size_t size;
    assert_ok(col_file_read(f->arena, folder_file(f, "out.csv"), 0, &text, &size));
    return text;
}

static void test_adds_offsets(void **state)
{
    folder *f = *state;
    assert_ok(command(f, "id,lower,upper,size\na,0,4,10\nb,2,6,4\nc,4,8,10\n", NULL));
    assert_string_equal(answer(f), "id,lower,upper,size,offset\na,0,4,10,0\nb,2,6,4,10\nc,4,8,10,0\n");
    /* Any order of columns, Windows line ends, blanks, a byte order mark, alignment, no last newline. */
    assert_ok(
        command(f, "\xef\xbb\xbfsize, alignment ,id,upper,lower\r\n 10,1,a,4,0\r\n\r\n4, 8,b,6,2", "20"));
    assert_string_equal(answer(f), "size, alignment ,id,upper,lower,offset\n 10,1,a,4,0,0\n4, 8,b,6,2,16\n");
}

static void test_refuses(void **state)
{
    folder *f = *state;
    static const struct {
        const char *csv, *part;
    } cases[] = {
        {"", "in.csv:1:1: error: the file is empty"},
        {"id,lower,upper,size\n", "there is no buffer"},
        {"id,lower,upper\na,0,1\n", "in.csv:1:1: error: column 'size' is missing"},
        {"id,lower,upper,size,colour\na,0,1,1,2\n", "in.csv:1:21: error: unknown column 'colour'"},
        {"id,lower,upper,size,size\na,0,1,1,2\n", "column 'size' appears twice"},
        {"id,lower,upper,size,offset\na,0,1,1,2\n", "column 'offset' is the answer"},
        {"id,lower,upper,size\na,0,1,1\na,2,3,1\n",
         "in.csv:3:1: error: id 'a' appears twice, first in line 2"},
        {"id,lower,upper,size\na,0,1,x7\n", "in.csv:2:7: error: size must be a whole number, not 'x7'"},
        {"id,lower,upper,size\na,0,1,1.5\n", "size must be a whole number"},
        {"id,lower,upper,size\na,-1,1,1\n", "in.csv:2:3: error: lower is negative: -1"},
        {"id,lower,upper,size\na,0,1,\n", "size is missing"},
        {"id,lower,upper,size\n,0,1,1\n", "id is missing"},
        {"id,lower,upper,size\na,0,1,99999999999999999999\n", "size is too large"},
        {"id,lower,upper,size\na,0,1,9223372036854775807\nb,0,1,9223372036854775807\n", "2^60"},
        {"id,lower,upper,size\na,5,5,1\n", "in.csv:2:5: error: upper must be greater than lower"},
        {"id,lower,upper,size\na,0,1\n", "in.csv:2:1: error: 3 fields"},
        {"id,lower,upper,size\na,0,1,2,3\n", "5 fields"},
        {"id,lower,upper,size,alignment\na,0,1,2,0\n", "alignment must be at least 1"},
    };
    for (size_t i = 0; i < COL_COUNT(cases); i++) {
        assert_fails(command(f, cases[i].csv, NULL), COL_BAD_INPUT, cases[i].part);
        assert_false(col_file_exists(folder_file(f, "out.csv")));
    }
    const char *good = "id,lower,upper,size\na,0,4,10\nb,2,6,4\n";
    assert_fails(command(f, good, "0"), COL_BAD_INPUT, "--capacity");
    assert_fails(command(f, good, "-5"), COL_BAD_INPUT, "--capacity");
    assert_fails(command(f, good, "much"), COL_BAD_INPUT, "--capacity");
    assert_fails(command(f, good, "13"), COL_INFEASIBLE, "14 bytes are enough, and no less than 14");
    assert_false(col_file_exists(folder_file(f, "out.csv")));
    char *missing[] = {folder_file(f, "none.csv")};
    assert_fails(col_solve_offsets_command(1, missing), COL_BAD_INPUT, "none.csv");
    assert_fails(col_solve_offsets_command(0, NULL), COL_BAD_INPUT, "usage");
}

static void test_minimalloc(void **state)
{
    folder *f = *state;
    const char *data = getenv("COL_TEST_DATA");
    int solved = 0;
    for (char name = 'A'; name <= 'K'; name++) {
        char *in =
            col_arena_printf(f->arena, "%s/minimalloc/%c.1048576.csv", data ? data : "../shared/data", name);
        if (!col_file_exists(in)) continue;
        char *argv[] = {in, "--capacity", "1048576", "--time-limit", "300", "-o", folder_file(f, "out.csv")};
        assert_ok(col_solve_offsets_command(7, argv));
        solved++;
    }
    if (solved == 0) skip();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_adds_offsets, folder_set_up, folder_tear_down),
        cmocka_unit_test_setup_teardown(test_refuses, folder_set_up, folder_tear_down),
        cmocka_unit_test_setup_teardown(test_minimalloc, folder_set_up, folder_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
