/* Choices by measuring: made once, kept, the same on all ranks, and never read from a damaged file. */
#include "runtime/cuda/choices.h"
#include "tests/unit/temporary_folder.h"

typedef struct chooser {
    const char *text;
    int asked;
} chooser;

static col_status choose(void *context, char out[CUDA_CHOICE_BYTES])
{
    chooser *c = context;
    c->asked++;
    strcpy(out, c->text);
    return NULL;
}

static const char *find(cuda_choices *c, const char *key, chooser *how)
{
    const char *text;
    assert_ok(cuda_choices_find(c, key, choose, how, &text));
    return text;
}

static cuda_choices open_in(const folder *f, const char *device)
{
    cuda_choices c;
    setenv("COLC_CACHE", f->path, 1);
    assert_ok(cuda_choices_open(f->arena, device, NULL, &c));
    return c;
}

static const char *file_of(const folder *f)
{
    return col_arena_printf(f->arena, "%s/A-GPU-9.0.json", f->path);
}

static void chooses_once_and_keeps_it(void **state)
{
    folder *f = *state;
    chooser one = {"first", 0}, other = {"second", 0}, nothing = {"", 0};
    cuda_choices c = open_in(f, "A GPU/9.0");
    assert_true(cuda_choices_are_kept(&c));
    assert_string_equal(find(&c, "k", &one), "first");
    assert_string_equal(find(&c, "k", &other), "first");
    assert_string_equal(find(&c, "n", &nothing), "");
    assert_int_equal(one.asked + other.asked, 1);
    cuda_choices_save(&c);
    c = open_in(f, "A GPU/9.0");
    assert_string_equal(find(&c, "k", &other), "first");
    assert_int_equal(other.asked, 0);
    /* What was no choice is asked for again. */
    assert_string_equal(find(&c, "n", &other), "second");
    assert_int_equal(other.asked, 1);
    cuda_choices_save(&c);
    c = open_in(f, "A GPU/9.0");
    assert_string_equal(find(&c, "n", &nothing), "second");
    /* Another kind of GPU has a file of its own. */
    c = open_in(f, "Another");
    assert_string_equal(find(&c, "k", &other), "second");
}

static void refuses_a_damaged_file(void **state)
{
    folder *f = *state;
    chooser one = {"first", 0};
    cuda_choices c = open_in(f, "A GPU/9.0");
    find(&c, "k", &one);
    cuda_choices_save(&c);
    char *text;
    size_t size;
    assert_ok(col_file_read(f->arena, file_of(f), 0, &text, &size));
    for (size_t at = 0; at < size; at++) {
        char *damaged = col_arena_copy(f->arena, text, size);
        damaged[at] = (char)(damaged[at] == '#' ? '%' : '#');
        if (strchr(" \n", text[at])) continue; /* between tokens, a damage of the format */
        assert_ok(col_file_write(file_of(f), damaged, size));
        col_status status = cuda_choices_open(f->arena, "A GPU/9.0", NULL, &c);
        assert_non_null(status);
        assert_int_equal(col_error_code(status), COL_DEVICE);
        assert_non_null(strstr(col_error_message(status), "A-GPU-9.0.json"));
        col_error_free(status);
    }
    for (size_t cut = 0; cut + 1 < size; cut++) {
        assert_ok(col_file_write(file_of(f), text, cut));
        col_status status = cuda_choices_open(f->arena, "A GPU/9.0", NULL, &c);
        assert_non_null(status);
        col_error_free(status);
    }
    assert_ok(col_file_write(file_of(f), text, size));
    assert_ok(cuda_choices_open(f->arena, "A GPU/9.0", NULL, &c));
}

static void keeps_nothing_where_it_cannot(void **state)
{
    folder *f = *state;
    chooser one = {"first", 0};
    cuda_choices c;
    setenv("COLC_CACHE", "", 1);
    assert_ok(cuda_choices_open(f->arena, "A GPU", NULL, &c));
    assert_false(cuda_choices_are_kept(&c));
    assert_string_equal(find(&c, "k", &one), "first");
    cuda_choices_save(&c);
    const char *file = col_arena_printf(f->arena, "%s/file", f->path);
    assert_ok(col_file_write(file, "x", 1));
    setenv("COLC_CACHE", file, 1); /* no folder */
    assert_ok(cuda_choices_open(f->arena, "A GPU", NULL, &c));
    assert_false(cuda_choices_are_kept(&c));
    /* The folder of a user, where none is given. */
    unsetenv("COLC_CACHE");
    setenv("XDG_CACHE_HOME", f->path, 1);
    assert_ok(cuda_choices_open(f->arena, "A GPU", NULL, &c));
    assert_string_equal(c.path, col_arena_printf(f->arena, "%s/colc/A-GPU.json", f->path));
}

/* Ranks in turn: what rank 0 sends is what the next one gets. */
static char sent[CUDA_CHOICE_BYTES];

static col_status pass_on(col_comm *comm, int64_t root, void *data, uint64_t bytes)
{
    assert_int_equal(root, 0);
    assert_int_equal(bytes, sizeof sent);
    if (comm->rank == 0)
        memcpy(sent, data, bytes);
    else
        memcpy(data, sent, bytes);
    return NULL;
}

static void ranks_are_told(void **state)
{
    folder *f = *state;
    const col_comm_type type = {.name = "test", .broadcast = pass_on};
    col_comm first = {.type = &type, .rank = 0}, second = {.type = &type, .rank = 1};
    chooser one = {"first", 0}, other = {"second", 0};
    cuda_choices a, b;
    setenv("COLC_CACHE", f->path, 1);
    for (int run = 0; run < 2; run++) {
        assert_ok(cuda_choices_open(f->arena, "A GPU", &first, &a));
        assert_ok(cuda_choices_open(f->arena, "A GPU", &second, &b));
        for (int again = 0; again < 2; again++) {
            assert_string_equal(find(&a, "k", &one), "first");
            assert_string_equal(find(&b, "k", &other), "first");
            memset(sent, 0, sizeof sent); /* nobody is told twice */
        }
        cuda_choices_save(&a);
        cuda_choices_save(&b);
    }
    assert_int_equal(one.asked, 1);
    assert_int_equal(other.asked, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(chooses_once_and_keeps_it, folder_set_up, folder_tear_down),
        cmocka_unit_test_setup_teardown(refuses_a_damaged_file, folder_set_up, folder_tear_down),
        cmocka_unit_test_setup_teardown(keeps_nothing_where_it_cannot, folder_set_up, folder_tear_down),
        cmocka_unit_test_setup_teardown(ranks_are_told, folder_set_up, folder_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
