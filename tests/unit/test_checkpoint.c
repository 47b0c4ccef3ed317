/* Checkpoints: round trips, fallback over damage, pruning, full disks, and being killed at any moment. */
#include "tests/unit/temporary_folder.h"
#include "runtime/store/checkpoint_state.h"

#include <inttypes.h>
#include <math.h>
#include <time.h>
#include <xxhash.h>

enum { WEIGHTS = 700 };

static const int64_t shape[] = {7, 100};

/* The checkpoint of a step: all its numbers follow from the step. */
static col_status save(const char *dir, int64_t step, uint64_t shard_bytes)
{
    float weights[2][WEIGHTS];
    double moments[WEIGHTS];
    for (int i = 0; i < WEIGHTS; i++) {
        weights[0][i] = (float)(step * 1000 + i);
        weights[1][i] = -weights[0][i];
        moments[i] = (double)step / (i + 1);
    }
    col_tensor_source w[] = {
        {.name = "h.0.w", .dtype = COL_STORE_F32, .rank = 2, .shape = shape, .data = weights[0]},
        {.name = "h.1.w", .dtype = COL_STORE_F32, .rank = 2, .shape = shape, .data = weights[1]}};
    col_tensor_source s[] = {
        {.name = "m.h.0.w", .dtype = COL_STORE_F64, .rank = 2, .shape = shape, .data = moments}};
    col_scalar scalars[] = {
        COL_SCALAR_OF_INT(COL_KEY_SEED, (int64_t)UINT64_C(0xfedcba9876543210)),
        COL_SCALAR_OF_INT(COL_KEY_DATA_POSITION, step * 4),
        COL_SCALAR_OF_REAL("best_loss", 1.0 / 3.0),
        COL_SCALAR_OF_REAL("whole", 2.0),
        COL_SCALAR_OF_REAL("negative_zero", -0.0),
        COL_SCALAR_OF_REAL("unknown", NAN),
        COL_SCALAR_OF_REAL("low", -INFINITY),
        COL_SCALAR_OF_TEXT(COL_KEY_MODEL, "gpt2 \"nano\"\n"),
    };
    return col_checkpoint_write(dir, &(col_checkpoint_contents){.step = step,
                                                                .weights = w,
                                                                .weight_count = 2,
                                                                .states = s,
                                                                .state_count = 1,
                                                                .scalars = scalars,
                                                                .scalar_count = COL_COUNT(scalars),
                                                                .shard_bytes = shard_bytes});
}

static void check_contents(const col_checkpoint *c, int64_t step)
{
    int64_t position = 0, size = WEIGHTS;
    assert_int_equal(c->step, step);
    assert_ok(col_checkpoint_int(c, COL_KEY_DATA_POSITION, &position));
    assert_int_equal(position, step * 4);
    for (int k = 0; k < 2; k++) {
        const col_stored_tensor *t = NULL;
        assert_ok(col_safetensors_require(c->weights, k ? "h.1.w" : "h.0.w", COL_STORE_F32, 2, shape, &t));
        for (int i = 0; i < size; i++) {
            float want = (float)(step * 1000 + i);
            assert_true(((const float *)t->data)[i] == (k ? -want : want));
        }
    }
    const col_stored_tensor *m = col_safetensors_find(c->states, "m.h.0.w");
    assert_non_null(m);
    for (int i = 0; i < WEIGHTS; i++) assert_true(((const double *)m->data)[i] == (double)step / (i + 1));
}

/* The newest checkpoint is that of the step, with or without a notice. */
static void expect_newest(const char *dir, int64_t step, const char *notice_part)
{
    col_checkpoint *c = NULL;
    const char *notice = NULL;
    assert_ok(col_checkpoint_open(dir, &c, &notice));
    check_contents(c, step);
    if (notice_part) {
        assert_non_null(notice);
        assert_non_null(strstr(notice, notice_part));
    } else {
        assert_null(notice);
    }
    col_checkpoint_close(c);
}

static void flip(folder *f, const char *path, size_t at)
{
    size_t size = 0;
    char *bytes = folder_read(f, path, &size);
    assert_true(at < size);
    bytes[at] = (char)(bytes[at] ^ 0x10);
    assert_ok(col_file_write(path, bytes, size));
}

static void round_trip(void **state)
{
    folder *f = *state;
    char *dir = folder_file(f, "runs/one");
    assert_ok(save(dir, 100, 0));
    assert_string_equal(folder_read(f, folder_file(f, "runs/one/latest"), NULL), "step_00000100\n");
    assert_int_equal(folder_entries(dir), 2);
    assert_int_equal(folder_entries(folder_file(f, "runs/one/step_00000100")), 3);
    expect_newest(dir, 100, NULL);
    expect_newest(folder_file(f, "runs/one/step_00000100"), 100, NULL);
    col_checkpoint *c = NULL;
    const char *notice = NULL, *text = NULL;
    int64_t integer = 0;
    double real = 0;
    assert_ok(col_checkpoint_open(dir, &c, &notice));
    assert_ok(col_checkpoint_int(c, COL_KEY_SEED, &integer));
    assert_true((uint64_t)integer == UINT64_C(0xfedcba9876543210));
    assert_ok(col_checkpoint_real(c, "best_loss", &real));
    assert_true(real == 1.0 / 3.0);
    assert_ok(col_checkpoint_real(c, "whole", &real));
    assert_true(real == 2.0);
    assert_ok(col_checkpoint_real(c, "negative_zero", &real));
    assert_true(real == 0 && signbit(real));
    assert_ok(col_checkpoint_real(c, "unknown", &real));
    assert_true(isnan(real));
    assert_ok(col_checkpoint_real(c, "low", &real));
    assert_true(real == -INFINITY);
    assert_ok(col_checkpoint_text(c, COL_KEY_MODEL, &text));
    assert_string_equal(text, "gpt2 \"nano\"\n");
    assert_fails(col_checkpoint_int(c, "best_loss", &integer), COL_BAD_INPUT, "no integer 'best_loss'");
    assert_fails(col_checkpoint_text(c, "nothing", &text), COL_BAD_INPUT, "no text 'nothing'");
    col_checkpoint_close(c);
}

static void shards_round_trip(void **state)
{
    folder *f = *state;
    assert_ok(save(f->path, 5, 3000));
    assert_int_equal(folder_entries(folder_file(f, "step_00000005")), 5);
    expect_newest(f->path, 5, NULL);
    flip(f, folder_file(f, "step_00000005/model-00002-of-00002.safetensors"), 2000);
    col_checkpoint *c = NULL;
    const char *notice = NULL;
    assert_fails(col_checkpoint_open(f->path, &c, &notice), COL_BAD_INPUT, "tensor 'h.1.w'");
}

/* One byte in every 64 of every file, and every truncation at such a place, is noticed and passed over. */
static void damage_falls_back(void **state)
{
    folder *f = *state;
    static const char *const files[] = {"state.json", "model.safetensors", "optimizer.safetensors"};
    assert_ok(save(f->path, 1, 0));
    assert_ok(save(f->path, 2, 0));
    for (size_t i = 0; i < COL_COUNT(files); i++) {
        char *path = col_arena_printf(f->arena, "%s/step_00000002/%s", f->path, files[i]);
        size_t size = 0;
        char *whole = folder_read(f, path, &size);
        for (size_t at = 0; at < size; at += 64) {
            flip(f, path, at);
            expect_newest(f->path, 1, "using '");
            assert_ok(col_file_write(path, whole, at));
            expect_newest(f->path, 1, "step_00000002");
            assert_ok(col_file_write(path, whole, size));
        }
        assert_int_equal(unlink(path), 0);
        expect_newest(f->path, 1, files[i]);
        assert_ok(col_file_write(path, whole, size));
    }
    expect_newest(f->path, 2, NULL);
    /* A whole file of another step is not the one that was saved. */
    char *model = folder_file(f, "step_00000002/model.safetensors");
    size_t size = 0;
    char *other = folder_read(f, folder_file(f, "step_00000001/model.safetensors"), &size);
    assert_ok(col_file_write(model, other, size));
    expect_newest(f->path, 1, "not the file that state.json was saved with");
    flip(f, folder_file(f, "step_00000001/optimizer.safetensors"), 3000);
    col_checkpoint *c = NULL;
    const char *notice = NULL;
    assert_fails(col_checkpoint_open(f->path, &c, &notice), COL_BAD_INPUT, "m.h.0.w");
}

static void damaged_latest_is_only_a_hint(void **state)
{
    folder *f = *state;
    static const char *const texts[] = {"",
                                        "step_",
                                        "step_0000000x\n",
                                        "../../etc\n",
                                        "step_00000009\n",
                                        "step_00000002",
                                        "step_00000002\n\n"};
    assert_ok(save(f->path, 1, 0));
    assert_ok(save(f->path, 2, 0));
    char *latest = folder_file(f, "latest");
    for (size_t i = 0; i < COL_COUNT(texts); i++) {
        assert_ok(col_file_write(latest, texts[i], strlen(texts[i])));
        expect_newest(f->path, 2, NULL);
    }
    assert_int_equal(unlink(latest), 0);
    expect_newest(f->path, 2, NULL);
    /* A run that started afresh in the folder of an older one goes on from its own steps. */
    assert_ok(save(f->path, 50, 0));
    assert_ok(save(f->path, 3, 0));
    expect_newest(f->path, 3, NULL);
}

static void same_step_is_replaced(void **state)
{
    folder *f = *state;
    assert_ok(save(f->path, 7, 0));
    flip(f, folder_file(f, "step_00000007/model.safetensors"), 5000);
    assert_ok(save(f->path, 7, 3000));
    expect_newest(f->path, 7, NULL);
    assert_int_equal(folder_entries(f->path), 2);
}

static void nothing_to_open(void **state)
{
    folder *f = *state;
    col_checkpoint *c = NULL;
    const char *notice = NULL;
    assert_fails(col_checkpoint_open(f->path, &c, &notice), COL_BAD_INPUT, "holds no checkpoint");
    assert_fails(col_checkpoint_open(folder_file(f, "absent"), &c, &notice), COL_BAD_INPUT, "No such file");
    assert_ok(col_make_folder(folder_file(f, "step_00000003")));
    assert_fails(col_checkpoint_open(f->path, &c, &notice), COL_BAD_INPUT, "never completed");
}

static void prune_keeps_the_newest(void **state)
{
    folder *f = *state;
    for (int step = 1; step <= 5; step++) assert_ok(save(f->path, step, step == 2 ? 3000 : 0));
    assert_ok(col_file_write(folder_file(f, "step_00000001/notes.txt"), "mine", 4));
    assert_ok(col_checkpoint_prune(f->path, 3));
    assert_true(col_file_exists(folder_file(f, "step_00000003/state.json")));
    assert_false(col_file_exists(folder_file(f, "step_00000002")));
    assert_false(col_file_exists(folder_file(f, "step_00000001/model.safetensors")));
    assert_true(col_file_exists(folder_file(f, "step_00000001/notes.txt"))); /* nobody's but the user's */
    flip(f, folder_file(f, "step_00000005/optimizer.safetensors"), 4000);
    assert_fails(col_checkpoint_prune(f->path, 1), COL_BAD_INPUT, "no old checkpoint was removed");
    expect_newest(f->path, 4, "step_00000005");
    assert_ok(save(f->path, 9, 0));
    assert_ok(save(f->path, 6, 0)); /* 9 is another run's */
    assert_ok(col_checkpoint_prune(f->path, 1));
    assert_true(col_file_exists(folder_file(f, "step_00000009/state.json")));
    assert_false(col_file_exists(folder_file(f, "step_00000004")));
    expect_newest(f->path, 6, NULL);
}

static void full_disk_keeps_what_was_there(void **state)
{
    folder *f = *state;
    assert_ok(save(f->path, 1, 0));
    for (size_t limit = 0; limit < 7000; limit += 500) {
        for (int64_t step = 1; step <= 2; step++) {
            col_status status = NULL;
            WITH_FILE_LIMIT(limit, status, save(f->path, step, 0));
            if (status) {
                assert_fails(status, COL_DEVICE, "make room");
                assert_int_equal(folder_entries(f->path), 2);
                expect_newest(f->path, 1, NULL);
            } else {
                assert_true(limit > 5600); /* the larger of the two files fits */
            }
        }
    }
}

static void unwritable_folder_is_told_at_the_start(void **state)
{
    folder *f = *state;
    assert_ok(col_checkpoint_prepare(folder_file(f, "a/b")));
    assert_int_equal(folder_entries(folder_file(f, "a/b")), 0);
    assert_ok(col_file_write(folder_file(f, "file"), "", 0));
    assert_fails(col_checkpoint_prepare(folder_file(f, "file")), COL_BAD_INPUT, "give --save another folder");
    assert_fails(col_checkpoint_prepare("/proc/none"), COL_BAD_INPUT, "give --save another folder");
    assert_fails(save(folder_file(f, "file"), 1, 0), COL_BAD_INPUT, "was not saved");
}

/* A process that does nothing but save is killed at any moment: what it leaves is always whole, never goes
 * back, and the next run clears away what it had half-made. */
static void being_killed_leaves_whole_checkpoints(void **state)
{
    folder *f = *state;
    int64_t last = 0;
    assert_ok(save(f->path, 1, 0));
    for (int round = 0; round < 40; round++) {
        int saved[2]; /* the child says so after each checkpoint */
        assert_int_equal(pipe(saved), 0);
        pid_t child = fork();
        assert_true(child >= 0);
        if (!child) {
            for (int64_t step = last + 1;; step++) {
                if (col_error_ignore(save(f->path, step, step % 2 ? 0 : 3000))) _exit(1);
                if (write(saved[1], "", 1) != 1) _exit(1);
                if (step % 4 == 0 && col_error_ignore(col_checkpoint_prune(f->path, 2))) _exit(1);
            }
        }
        close(saved[1]);
        char byte = 0;
        for (int i = 0; i < round % 3; i++) assert_int_equal(read(saved[0], &byte, 1), 1);
        struct timespec pause = {0, (long)(round * 7919 % 97) * 200000};
        nanosleep(&pause, NULL);
        assert_int_equal(kill(child, SIGKILL), 0);
        close(saved[0]);
        int status = 0;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        col_checkpoint *c = NULL;
        const char *notice = NULL;
        assert_ok(col_checkpoint_open(f->path, &c, &notice));
        assert_null(notice);
        assert_true(c->step >= last);
        last = c->step;
        check_contents(c, last);
        col_checkpoint_close(c);
    }
    assert_true(last > 40 / 3);
    assert_ok(save(f->path, last + 1, 0));
    DIR *dir = opendir(f->path);
    for (struct dirent *e; (e = readdir(dir));) assert_null(strstr(e->d_name, ".tmp."));
    closedir(dir);
}

#define STATE(version, step, files, scalars)                                                                 \
    "\",\"format\":\"colc-checkpoint\",\"version\":" version ",\"library_version\":\"9.9\",\"step\":" step   \
    ",\"files\":" files ",\"scalars\":" scalars "}"
#define FILE_NAMED(name) "[{\"name\":\"" name "\",\"bytes\":1,\"header_xxh3\":\"0123456789abcdef\"}]"

/* With a right checksum, so that what is wrong inside is what is told. */
static void state_rules(void **state)
{
    folder *f = *state;
    static const struct {
        const char *rest, *message; /* NULL: it is read */
    } cases[] = {
        {STATE("1", "5", FILE_NAMED("model.safetensors"), "{\"a\":1}"), NULL},
        {STATE("2", "5", "[]", "{}"),
         "checkpoint version 2, but this colc reads version 1; use the colc that wrote it (9.9)"},
        {STATE("\"1\"", "5", "[]", "{}"), "checkpoint version 0"},
        {STATE("1", "-5", "[]", "{}"), "is missing"},
        {STATE("1", "5.0", "[]", "{}"), "is missing"},
        {STATE("1", "5", "{}", "{}"), "is missing"},
        {STATE("1", "5", "[]", "[]"), "is missing"},
        {STATE("1", "5", FILE_NAMED("../x"), "{}"), "plain name"},
        {STATE("1", "5", FILE_NAMED("a/x"), "{}"), "plain name"},
        {STATE("1", "5", FILE_NAMED(""), "{}"), "plain name"},
        {STATE("1", "5", "[1]", "{}"), "plain name"},
        {STATE("1", "5", "[{\"name\":\"x\",\"bytes\":-1,\"header_xxh3\":\"0123456789abcdef\"}]", "{}"),
         "bytes"},
        {STATE("1", "5", "[{\"name\":\"x\",\"bytes\":1,\"header_xxh3\":\"0123456789ABCDEF\"}]", "{}"),
         "header_xxh3"},
        {STATE("1", "5", "[]", "{\"a\":null}"), "scalar 'a' is neither"},
        {STATE("1", "5", "[]", "{\"a\":{\"real\":\"x\"}}"), "scalar 'a' is neither"},
        {STATE("1", "5", "[]", "{\"a\":1,\"a\":1}"), "duplicate object key"},
        {"\",\"format\":\"other\"}", "'format' is not"},
        {"\"} x", "end of file expected"},
    };
    for (size_t i = 0; i < COL_COUNT(cases); i++) {
        char *text = col_arena_printf(f->arena, "{\n  \"xxh3\": \"0000000000000000%s", cases[i].rest);
        uint64_t hash = XXH3_64bits(text, strlen(text));
        text = col_arena_printf(f->arena, "{\n  \"xxh3\": \"%016" PRIx64 "%s", hash, cases[i].rest);
        col_checkpoint_state parsed;
        col_status status = col_checkpoint_state_parse(f->arena, "state.json", text, strlen(text), &parsed);
        if (cases[i].message) {
            assert_fails(status, COL_BAD_INPUT, cases[i].message);
        } else {
            assert_ok(status);
            assert_int_equal(parsed.step, 5);
        }
    }
    col_checkpoint_state twice = {.library_version = "1",
                                  .scalars =
                                      (col_scalar[]){COL_SCALAR_OF_INT("a", 1), COL_SCALAR_OF_INT("a", 2)},
                                  .scalar_count = 2};
    col_str out = {0};
    assert_fails(col_checkpoint_state_print(&twice, &out), COL_BAD_INPUT,
                 "value 'a' is not UTF-8 or occurs twice");
    col_str_fini(&out);
}

static void weights_come_from_anywhere(void **state)
{
    folder *f = *state;
    static const char *const places[] = {"run", "run/step_00000002", "run/step_00000002/model.safetensors",
                                         "hf"};
    col_tensor_source one = {.name = "h.0.w", .dtype = COL_STORE_U8, .rank = 0, .data = "x"};
    assert_ok(save(folder_file(f, "run"), 1, 0));
    assert_ok(save(folder_file(f, "run"), 2, 0));
    assert_ok(col_make_folder(folder_file(f, "hf")));
    assert_ok(col_safetensors_write_base(folder_file(f, "hf"), "model", &one, 1, NULL, 0, 0));
    for (size_t i = 0; i < COL_COUNT(places); i++) {
        col_safetensors *weights = NULL;
        const char *notice = NULL;
        assert_ok(col_weights_open(f->arena, folder_file(f, places[i]), &weights, &notice));
        assert_null(notice);
        assert_non_null(col_safetensors_find(weights, "h.0.w"));
        col_safetensors_close(weights);
    }
    col_safetensors *weights = NULL;
    const char *notice = NULL;
    flip(f, folder_file(f, "run/step_00000002/model.safetensors"), 3000);
    assert_ok(col_weights_open(f->arena, folder_file(f, "run"), &weights, &notice));
    assert_non_null(strstr(notice, "step_00000002"));
    col_safetensors_close(weights);
    assert_fails(col_weights_open(f->arena, folder_file(f, places[2]), &weights, &notice), COL_BAD_INPUT,
                 "does not match its checksum");
    /* A folder with both: the checkpoints win, and it is said. */
    assert_ok(col_safetensors_write_base(folder_file(f, "run"), "model", &one, 1, NULL, 0, 0));
    assert_ok(save(folder_file(f, "run"), 3, 0));
    assert_ok(col_weights_open(f->arena, folder_file(f, "run"), &weights, &notice));
    assert_non_null(notice);
    assert_non_null(strstr(notice, "rather than"));
    col_safetensors_close(weights);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FOLDER_TEST(round_trip),
        FOLDER_TEST(shards_round_trip),
        FOLDER_TEST(damage_falls_back),
        FOLDER_TEST(damaged_latest_is_only_a_hint),
        FOLDER_TEST(same_step_is_replaced),
        FOLDER_TEST(nothing_to_open),
        FOLDER_TEST(prune_keeps_the_newest),
        FOLDER_TEST(full_disk_keeps_what_was_there),
        FOLDER_TEST(unwritable_folder_is_told_at_the_start),
        FOLDER_TEST(being_killed_leaves_whole_checkpoints),
        FOLDER_TEST(state_rules),
        FOLDER_TEST(weights_come_from_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
