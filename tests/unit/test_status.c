/* Errors: codes, messages, context, and the classes of system errors. */
#include "tests/unit/unit.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void test_null_is_success(void **state)
{
    (void)state;
    assert_int_equal(col_error_code(NULL), COL_OK);
    assert_string_equal(col_error_message(NULL), "");
    assert_null(col_error_annotate(NULL, "context"));
    assert_null(col_error_join(NULL, NULL));
    assert_false(col_error_ignore(NULL));
    col_error_free(NULL);
}

static void test_make_and_annotate(void **state)
{
    (void)state;
    col_status status = col_error_make(COL_INFEASIBLE, "needs %d bytes", 42);
    assert_int_equal(col_error_code(status), COL_INFEASIBLE);
    assert_string_equal(col_error_message(status), "needs 42 bytes");
    status = col_error_annotate(status, "rank %d", 3);
    assert_int_equal(col_error_code(status), COL_INFEASIBLE);
    assert_string_equal(col_error_message(status), "rank 3: needs 42 bytes");
    assert_true(col_error_ignore(status));
}

static void test_message_may_be_long(void **state)
{
    (void)state;
    static char text[100001];
    memset(text, 'x', sizeof text - 1);
    col_status status = col_error_annotate(col_error_make(COL_BAD_INPUT, "%s%%d", text), "%s", text);
    assert_int_equal(strlen(col_error_message(status)), 2 * strlen(text) + 4);
    col_error_free(status);
}

static void test_join_keeps_the_first(void **state)
{
    (void)state;
    col_status first =
        col_error_join(col_error_make(COL_DEVICE, "first"), col_error_make(COL_BAD_INPUT, "second"));
    assert_fails(first, COL_DEVICE, "first");
    assert_fails(col_error_join(NULL, col_error_make(COL_BAD_INPUT, "second")), COL_BAD_INPUT, "second");
    assert_fails(col_error_join(col_error_make(COL_DEVICE, "first"), NULL), COL_DEVICE, "first");
}

static void test_errno_classes(void **state)
{
    (void)state;
    static const int device[] = {ENOSPC, EDQUOT, EIO, EROFS, EFBIG, ENOMEM};
    for (size_t i = 0; i < COL_COUNT(device); i++) {
        assert_fails(col_error_from_errno(device[i], "cannot write '%s'", "p"), COL_DEVICE,
                     "cannot write 'p': ");
    }
    assert_fails(col_error_from_errno(ENOENT, "cannot open '%s'", "p"), COL_BAD_INPUT, strerror(ENOENT));
    assert_fails(col_error_from_errno(EACCES, "cannot open '%s'", "p"), COL_BAD_INPUT, strerror(EACCES));
}

static col_status pass_on(col_status inner, int *reached)
{
    COL_TRY(inner);
    *reached = 1;
    return NULL;
}

static void test_try_returns_at_once(void **state)
{
    (void)state;
    int reached = 0;
    assert_fails(pass_on(col_error_make(COL_BAD_INPUT, "inner"), &reached), COL_BAD_INPUT, "inner");
    assert_int_equal(reached, 0);
    assert_ok(pass_on(NULL, &reached));
    assert_int_equal(reached, 1);
}

static void break_an_invariant(void)
{
    COL_ASSERT(1 + 1 == 3);
}

static void ask_for_too_much(void)
{
    col_out_of_memory(12345);
}

/* Runs the function in a child; gives how it ended, and what it wrote to stderr. */
static int end_of(void (*function)(void), char text[static 1024])
{
    int ends[2], status = 0;
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        signal(SIGABRT, SIG_DFL);
        function();
        _exit(0);
    }
    close(ends[1]);
    size_t used = 0;
    memset(text, 0, 1024);
    for (ssize_t got; (got = read(ends[0], text + used, 1023 - used)) > 0;) used += (size_t)got;
    close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

/* A broken invariant ends the process and names the place and the condition. */
static void test_assert_ends_with_the_place(void **state)
{
    (void)state;
    char text[1024];
    int status = end_of(break_an_invariant, text);
#if COL_PANIC_ABORTS
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
#else
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == COL_INTERNAL);
#endif
    assert_non_null(strstr(text, "test_status.c:"));
    assert_non_null(strstr(text, "internal error: assertion failed: 1 + 1 == 3"));
}

static void test_out_of_memory_is_no_bug(void **state)
{
    (void)state;
    char text[1024];
    int status = end_of(ask_for_too_much, text);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == COL_DEVICE);
    assert_non_null(strstr(text, "error: out of memory for 12345 bytes"));
    assert_null(strstr(text, "bug"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_null_is_success),
        cmocka_unit_test(test_make_and_annotate),
        cmocka_unit_test(test_message_may_be_long),
        cmocka_unit_test(test_join_keeps_the_first),
        cmocka_unit_test(test_errno_classes),
        cmocka_unit_test(test_try_returns_at_once),
        cmocka_unit_test(test_assert_ends_with_the_place),
        cmocka_unit_test(test_out_of_memory_is_no_bug),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
