/* Files: reading, mapping, and replacement that leaves the old file whole whatever fails. */
#include "tests/unit/unit.h"
#include "ir/base/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct fixture {
    col_arena *arena;
    char *folder;
} fixture;

static int set_up(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    f->arena = col_arena_create();
    const char *base = getenv("TMPDIR");
    f->folder = col_arena_printf(f->arena, "%s/col_file_XXXXXX", base ? base : "/tmp");
    *state = f;
    return mkdtemp(f->folder) ? 0 : -1;
}

static void remove_tree(const char *folder)
{
    DIR *dir = opendir(folder);
    for (struct dirent *e; dir && (e = readdir(dir));) {
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        if (unlink(path)) remove_tree(path);
    }
    if (dir) closedir(dir);
    rmdir(folder);
}

static int tear_down(void **state)
{
    fixture *f = *state;
    remove_tree(f->folder);
    col_arena_destroy(f->arena);
    free(f);
    return 0;
}

static char *path_of(fixture *f, const char *name)
{
    return col_arena_printf(f->arena, "%s/%s", f->folder, name);
}

static size_t entry_count(const char *folder)
{
    size_t count = 0;
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir));) count += e->d_name[0] != '.';
    closedir(dir);
    return count;
}

static void assert_content(fixture *f, const char *path, const char *text)
{
    char *data = NULL;
    size_t size = 0;
    assert_ok(col_file_read(f->arena, path, 0, &data, &size));
    assert_int_equal(size, strlen(text));
    assert_string_equal(data, text);
}

static void test_write_read_map(void **state)
{
    fixture *f = *state;
    char *path = path_of(f, "a"), *data = NULL;
    size_t size = 0;
    static char big[300000];
    for (size_t i = 0; i < sizeof big; i++) big[i] = (char)(i * 31);
    assert_ok(col_file_write(path, big, sizeof big));
    assert_ok(col_file_read(f->arena, path, sizeof big, &data, &size));
    assert_int_equal(size, sizeof big);
    assert_memory_equal(data, big, sizeof big);
    assert_int_equal(data[size], '\0');
    col_mapping mapping;
    assert_ok(col_file_map(path, &mapping));
    assert_int_equal(mapping.size, sizeof big);
    assert_memory_equal(mapping.data, big, sizeof big);
    col_file_unmap(&mapping);
    assert_null(mapping.data);

    assert_ok(col_file_write(path, NULL, 0)); /* an empty file */
    assert_content(f, path, "");
    assert_ok(col_file_map(path, &mapping));
    assert_null(mapping.data);
    assert_int_equal(mapping.size, 0);
    col_file_unmap(&mapping);
    assert_true(col_file_exists(path));
    assert_int_equal(entry_count(f->folder), 1);
}

static void test_read_refusals(void **state)
{
    fixture *f = *state;
    char *path = path_of(f, "a"), *data = NULL;
    size_t size = 0;
    col_mapping mapping;
    assert_ok(col_file_write(path, "12345", 5));
    assert_fails(col_file_read(f->arena, path, 4, &data, &size), COL_BAD_INPUT, "at most 4");
    assert_fails(col_file_read(f->arena, path_of(f, "none"), 0, &data, &size), COL_BAD_INPUT, "No such file");
    assert_fails(col_file_read(f->arena, f->folder, 0, &data, &size), COL_BAD_INPUT, "not a regular file");
    assert_fails(col_file_map(path_of(f, "none"), &mapping), COL_BAD_INPUT, "No such file");
    assert_fails(col_file_map(f->folder, &mapping), COL_BAD_INPUT, "not a regular file");
    char *fifo = path_of(f, "fifo"); /* must be refused, not waited for */
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_fails(col_file_read(f->arena, fifo, 0, &data, &size), COL_BAD_INPUT, "not a regular file");
    assert_false(col_file_exists(path_of(f, "none")));
}

/* A sparse file larger than any memory: an error, not an abort. */
static void test_read_of_an_absurd_file(void **state)
{
    fixture *f = *state;
    char *path = path_of(f, "sparse"), *data = NULL;
    size_t size = 0;
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    bool made = fd >= 0 && ftruncate(fd, (off_t)1 << 43) == 0;
    if (fd >= 0) close(fd);
    if (!made) skip(); /* this file system has no files of 8 TiB */
    struct rlimit old, limit;
    assert_int_equal(getrlimit(RLIMIT_AS, &old), 0);
    limit = old;
    if (!COL_ASAN) { /* whose own address space is larger, and which has a limit of its own */
        limit.rlim_cur = (rlim_t)1 << 40;
        assert_int_equal(setrlimit(RLIMIT_AS, &limit), 0);
    }
    col_status status = col_file_read(f->arena, path, 0, &data, &size);
    assert_int_equal(setrlimit(RLIMIT_AS, &old), 0);
    assert_fails(status, COL_BAD_INPUT, "has not the memory");
}

static void test_replacement_is_atomic(void **state)
{
    fixture *f = *state;
    char *path = path_of(f, "a");
    assert_ok(col_file_write(path, "old", 3));
    col_writer *writer = NULL;
    assert_ok(col_writer_open(path, &writer));
    assert_ok(col_writer_write(writer, "new ", 4));
    assert_content(f, path, "old"); /* until the commit */
    assert_ok(col_writer_write(writer, "text", 4));
    assert_ok(col_writer_write(writer, "", 0));
    assert_ok(col_writer_commit(writer));
    assert_content(f, path, "new text");

    assert_ok(col_writer_open(path, &writer));
    assert_ok(col_writer_write(writer, "gone", 4));
    col_writer_discard(writer);
    col_writer_discard(NULL);
    assert_content(f, path, "new text");
    assert_int_equal(entry_count(f->folder), 1); /* no temporary is left */
}

static void test_stale_temporary_is_replaced(void **state)
{
    fixture *f = *state;
    char *path = path_of(f, "a");
    char *temporary = col_arena_printf(f->arena, "%s.tmp.%ld", path, (long)getpid());
    char *victim = path_of(f, "victim");
    assert_ok(col_file_write(victim, "safe", 4));
    assert_int_equal(symlink(victim, temporary), 0); /* a planted link must not be written through */
    assert_ok(col_file_write(path, "new", 3));
    assert_content(f, path, "new");
    assert_content(f, victim, "safe");
    assert_int_equal(entry_count(f->folder), 2);
}

static void test_mode_and_links_are_kept(void **state)
{
    fixture *f = *state;
    char *path = path_of(f, "a"), *link_path = path_of(f, "link");
    assert_ok(col_file_write(path, "old", 3));
    assert_int_equal(chmod(path, 0600), 0);
    assert_int_equal(symlink("a", link_path), 0);
    assert_ok(col_file_write(link_path, "new", 3));
    assert_content(f, path, "new");
    struct stat info;
    assert_int_equal(lstat(link_path, &info), 0);
    assert_true(S_ISLNK(info.st_mode));
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
}

/* RLIMIT_FSIZE stands for a full disk: the write fails halfway. */
static void test_full_disk_leaves_the_old_file(void **state)
{
    fixture *f = *state;
    char *path = path_of(f, "a");
    static char big[100000];
    assert_ok(col_file_write(path, "old", 3));
    struct rlimit old, limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    limit = old;
    limit.rlim_cur = 65536;
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    col_status status = col_file_write(path, big, sizeof big);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, handler);
    assert_fails(status, COL_DEVICE, "cannot write");
    assert_content(f, path, "old");
    assert_int_equal(entry_count(f->folder), 1);
}

static void test_devices_are_written_in_place(void **state)
{
    fixture *f = *state;
    struct stat info;
    assert_ok(col_file_write("/dev/null", "x", 1));
    assert_int_equal(stat("/dev/null", &info), 0);
    assert_true(S_ISCHR(info.st_mode)); /* not renamed over */
    if (access("/dev/full", W_OK) == 0) {
        assert_fails(col_file_write("/dev/full", "x", 1), COL_DEVICE, "No space left");
    }
    char *fifo = path_of(f, "fifo"), got[4] = "";
    assert_int_equal(mkfifo(fifo, 0600), 0);
    int fd = open(fifo, O_RDWR);
    assert_true(fd >= 0);
    assert_ok(col_file_write(fifo, "abc", 3));
    assert_int_equal(read(fd, got, 3), 3);
    assert_string_equal(got, "abc");
    close(fd);
}

static void test_write_refusals(void **state)
{
    fixture *f = *state;
    assert_fails(col_file_write(f->folder, "x", 1), COL_BAD_INPUT, "Is a directory");
    assert_fails(col_file_write(path_of(f, "none/a"), "x", 1), COL_BAD_INPUT, "No such file");
    assert_fails(col_file_write("", "x", 1), COL_BAD_INPUT, "cannot write ''");
    if (geteuid() != 0) { /* root may write everywhere */
        assert_int_equal(chmod(f->folder, 0500), 0);
        assert_fails(col_file_write(path_of(f, "a"), "x", 1), COL_BAD_INPUT, "Permission denied");
        assert_int_equal(chmod(f->folder, 0700), 0);
    }
    assert_int_equal(entry_count(f->folder), 0);
}

/* The rename itself fails: the target became a folder after the writer was opened. */
static void test_failed_commit_cleans_up(void **state)
{
    fixture *f = *state;
    char *path = path_of(f, "a");
    col_writer *writer = NULL;
    assert_ok(col_writer_open(path, &writer));
    assert_ok(col_writer_write(writer, "x", 1));
    assert_int_equal(mkdir(path, 0700), 0);
    assert_fails(col_writer_commit(writer), COL_BAD_INPUT, "Is a directory");
    assert_int_equal(entry_count(f->folder), 1);
}

static void test_make_folder(void **state)
{
    fixture *f = *state;
    char *deep = path_of(f, "x/y//z/");
    assert_ok(col_make_folder(deep));
    assert_ok(col_make_folder(deep));
    assert_ok(col_make_folder("/"));
    assert_ok(col_make_folder("."));
    assert_ok(col_file_write(path_of(f, "x/y/z/a"), "x", 1));
    assert_fails(col_make_folder(path_of(f, "x/y/z/a")), COL_BAD_INPUT, "not a folder");
    assert_fails(col_make_folder(path_of(f, "x/y/z/a/b")), COL_BAD_INPUT, "cannot make the folder");
    assert_fails(col_make_folder(""), COL_BAD_INPUT, "not a folder");
}

int main(void)
{
#define FILE_TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        FILE_TEST(test_write_read_map),
        FILE_TEST(test_read_refusals),
        FILE_TEST(test_read_of_an_absurd_file),
        FILE_TEST(test_replacement_is_atomic),
        FILE_TEST(test_stale_temporary_is_replaced),
        FILE_TEST(test_mode_and_links_are_kept),
        FILE_TEST(test_full_disk_leaves_the_old_file),
        FILE_TEST(test_devices_are_written_in_place),
        FILE_TEST(test_write_refusals),
        FILE_TEST(test_failed_commit_cleans_up),
        FILE_TEST(test_make_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
