/* metrics.jsonl, TensorBoard events and Chrome traces, read back with other code than wrote them. */
#include "tests/unit/temporary_folder.h"
#include "runtime/store/metrics.h"
#include "runtime/store/tensorboard.h"
#include "runtime/store/trace.h"

#include <jansson.h>
#include <math.h>

static col_metrics_row row_of(int64_t step)
{
    return (col_metrics_row){.step = step,
                             .loss = 10.0 / (double)step,
                             .grad_norm = 0.1,
                             .lr = 3e-4,
                             .step_seconds = 0.25,
                             .unit = "tokens",
                             .units_per_second = 4096,
                             .mfu = 0.31,
                             .peak_bytes = UINT64_C(1) << 40,
                             .communication_bytes = 7};
}

static col_status log_steps(const char *dir, int64_t resume, int64_t first, int64_t last)
{
    col_metrics *metrics = NULL;
    col_status status = col_metrics_open(dir, resume, &metrics);
    for (int64_t step = first; !status && step <= last; step++) {
        col_metrics_row row = row_of(step);
        status = col_metrics_write(metrics, &row);
    }
    if (metrics) col_metrics_close(metrics);
    return status;
}

/* The steps of the file's lines, each of which must be JSON; their number is returned. */
static size_t read_steps(folder *f, const char *path, int64_t *out, size_t limit)
{
    size_t size = 0, count = 0;
    char *text = folder_read(f, path, &size);
    for (char *line = text; line < text + size; count++) {
        char *newline = strchr(line, '\n');
        assert_non_null(newline);
        json_t *object = json_loadb(line, (size_t)(newline - line), JSON_REJECT_DUPLICATES, NULL);
        assert_non_null(object);
        assert_true(count < limit);
        out[count] = json_integer_value(json_object_get(object, "step"));
        json_decref(object);
        line = newline + 1;
    }
    return count;
}

static void lines_have_the_promised_keys(void **state)
{
    folder *f = *state;
    col_metrics *metrics = NULL;
    char *dir = folder_file(f, "a/log");
    assert_ok(col_metrics_open(dir, -1, &metrics));
    col_metrics_row row = row_of(3);
    assert_ok(col_metrics_write(metrics, &row));
    row.step = 4;
    row.collective_count = 2;
    row.collectives[0] = (col_metrics_collective){"all-reduce", 4.5};
    row.collectives[1] = (col_metrics_collective){"all-gather", 2.5};
    row.loss = NAN;
    row.grad_norm = -INFINITY;
    row.mfu = -1;
    row.loss_scale = 65536;
    row.skipped = true;
    row.has_val_loss = true;
    row.val_loss = 1.0 / 3.0;
    assert_ok(col_metrics_write(metrics, &row));
    col_metrics_close(metrics);
    assert_string_equal(
        folder_read(f, folder_file(f, "a/log/metrics.jsonl"), NULL),
        "{\"step\":3,\"loss\":3.3333333333333335,\"grad_norm\":0.1,\"lr\":0.0003,\"step_seconds\":0.25,"
        "\"tokens_per_second\":4096,\"mfu\":0.31,\"peak_bytes\":1099511627776,"
        "\"communication_bytes\":7}\n"
        "{\"step\":4,\"loss\":null,\"grad_norm\":null,\"lr\":0.0003,\"loss_scale\":65536,\"skipped\":true,"
        "\"step_seconds\":0.25,"
        "\"tokens_per_second\":4096,\"mfu\":null,\"peak_bytes\":1099511627776,"
        "\"communication_bytes\":7,\"collective_bytes\":{\"all-reduce\":4.5,\"all-gather\":2.5},"
        "\"val_loss\":0.3333333333333333,"
        "\"non_finite\":{\"loss\":\"nan\",\"grad_norm\":\"-inf\"}}\n");
}

static void resuming_cuts_later_steps(void **state)
{
    folder *f = *state;
    char *path = folder_file(f, "metrics.jsonl");
    int64_t steps[64];
    assert_ok(log_steps(f->path, -1, 1, 9));
    assert_ok(log_steps(f->path, 6, 7, 8));
    assert_int_equal(read_steps(f, path, steps, 64), 8);
    for (int i = 0; i < 8; i++) assert_int_equal(steps[i], i + 1);
    /* A torn last line goes; a resume at step 0 starts over. */
    size_t size = 0;
    char *text = folder_read(f, path, &size);
    assert_ok(col_file_write(path, text, size - 10));
    assert_ok(log_steps(f->path, 100, 101, 101));
    assert_int_equal(read_steps(f, path, steps, 64), 8);
    assert_int_equal(steps[6], 7);
    assert_int_equal(steps[7], 101);
    assert_ok(log_steps(f->path, 0, 1, 1));
    assert_int_equal(read_steps(f, path, steps, 64), 1);
    assert_ok(log_steps(folder_file(f, "new"), 5, 6, 6)); /* resumed with another log folder */
}

static void a_new_run_keeps_the_old_file(void **state)
{
    folder *f = *state;
    int64_t steps[64];
    assert_ok(log_steps(f->path, -1, 1, 3));
    assert_ok(log_steps(f->path, -1, 1, 2));
    assert_ok(log_steps(f->path, -1, 1, 1));
    assert_int_equal(read_steps(f, folder_file(f, "metrics.1.jsonl"), steps, 64), 3);
    assert_int_equal(read_steps(f, folder_file(f, "metrics.2.jsonl"), steps, 64), 2);
    assert_int_equal(read_steps(f, folder_file(f, "metrics.jsonl"), steps, 64), 1);
    assert_ok(col_file_write(folder_file(f, "metrics.jsonl"), "", 0)); /* nothing to keep */
    assert_ok(log_steps(f->path, -1, 1, 1));
    assert_false(col_file_exists(folder_file(f, "metrics.3.jsonl")));
}

static void failures_are_told(void **state)
{
    folder *f = *state;
    col_metrics *metrics = NULL;
    col_tensorboard *board = NULL;
    col_trace *trace = NULL;
    char *file = folder_file(f, "file");
    assert_ok(col_file_write(file, "", 0));
    assert_fails(col_metrics_open(file, -1, &metrics), COL_BAD_INPUT, "give another --log-dir");
    assert_fails(col_tensorboard_open(file, -1, &board), COL_BAD_INPUT, "give another --log-dir");
    assert_fails(col_metrics_open("/proc/none", -1, &metrics), COL_BAD_INPUT, "give another --log-dir");
    assert_fails(col_trace_open("/nonexistent/trace.json", &trace), COL_BAD_INPUT, "/nonexistent/trace.json");
    /* A disk that fills up in the middle of a line leaves the lines before it. */
    int64_t steps[64];
    col_status status = NULL;
    WITH_FILE_LIMIT(600, status, log_steps(f->path, -1, 1, 20));
    assert_fails(status, COL_DEVICE, "metrics.jsonl");
    assert_int_equal(read_steps(f, folder_file(f, "metrics.jsonl"), steps, 64), 3);
    WITH_FILE_LIMIT(10, status, col_tensorboard_open(f->path, -1, &board));
    assert_fails(status, COL_DEVICE, "events.out.tfevents");
}

static uint64_t little(const unsigned char *bytes, size_t size)
{
    uint64_t value = 0;
    while (size--) value = value << 8 | bytes[size];
    return value;
}

/* CRC32C bit by bit, from its definition (reflected polynomial 0x82f63b78), and TensorBoard's mask. */
static uint32_t slow_masked_crc(const unsigned char *bytes, size_t size)
{
    uint32_t crc = ~0u;
    for (size_t i = 0; i < size; i++) {
        crc ^= bytes[i];
        for (int k = 0; k < 8; k++) crc = crc & 1 ? crc >> 1 ^ 0x82f63b78u : crc >> 1;
    }
    crc = ~crc;
    return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

static void crc_matches_its_vector(void **state)
{
    (void)state;
    assert_int_equal(col_masked_crc32c("123456789", 9), 0xc78ab0e5u);
    assert_int_equal(slow_masked_crc((const unsigned char *)"123456789", 9), 0xc78ab0e5u);
}

static char *only_event_file(folder *f)
{
    char *path = NULL;
    DIR *dir = opendir(f->path);
    for (struct dirent *e; (e = readdir(dir));) {
        if (strncmp(e->d_name, "events.out.tfevents.", 20)) continue;
        assert_null(path);
        path = folder_file(f, e->d_name);
    }
    closedir(dir);
    assert_non_null(path);
    return path;
}

/* The bytes of an event after its wall time (tag 0x09, 8 bytes), which is not the same twice. */
static void check_record(const unsigned char **at, const char *want, size_t want_size)
{
    size_t size = little(*at, 8);
    const unsigned char *data = *at + 12;
    assert_int_equal(little(*at + 8, 4), slow_masked_crc(*at, 8));
    assert_int_equal(little(data + size, 4), slow_masked_crc(data, size));
    assert_int_equal(data[0], 0x09);
    assert_int_equal(size - 9, want_size);
    assert_memory_equal(data + 9, want, want_size);
    *at = data + size + 4;
}

static void events_are_framed_as_tensorboard_reads_them(void **state)
{
    folder *f = *state;
    col_tensorboard *board = NULL;
    assert_ok(col_tensorboard_open(f->path, 299, &board));
    assert_ok(col_tensorboard_write(board, 300, (col_tag_value[]){{"loss", 1.0}, {"lr", 0.0}}, 2));
    col_tensorboard_close(board);
    size_t size = 0;
    char *bytes = folder_read(f, only_event_file(f), &size);
    const unsigned char *at = (unsigned char *)bytes;
    /* Protocol buffers by hand: field 3 (file_version); 2 (step 300) and 7 { 1: START }; 2 and 5 { 1 { … } …
     * }. */
    static const char version[] = "\x1a\x0d"
                                  "brain.Event:2";
    static const char start[] = "\x10\xac\x02\x3a\x02\x08\x01";
    static const char values[] = "\x10\xac\x02\x2a\x18"
                                 "\x0a\x0b\x0a\x04"
                                 "loss\x15\0\0\x80\x3f"
                                 "\x0a\x09\x0a\x02"
                                 "lr\x15\0\0\0\0";
    check_record(&at, version, sizeof version - 1);
    check_record(&at, start, sizeof start - 1);
    check_record(&at, values, sizeof values - 1);
    assert_ptr_equal(at, bytes + size);
}

static void two_boards_have_two_files(void **state)
{
    folder *f = *state;
    col_tensorboard *a = NULL, *b = NULL;
    assert_ok(col_tensorboard_open(f->path, -1, &a));
    assert_ok(col_tensorboard_open(f->path, -1, &b));
    col_tensorboard_close(a);
    col_tensorboard_close(b);
    assert_int_equal(folder_entries(f->path), 2);
}

static void trace_is_chrome_json(void **state)
{
    folder *f = *state;
    char *path = folder_file(f, "trace.json");
    col_trace *trace = NULL;
    assert_ok(col_trace_open(path, &trace));
    assert_ok(col_trace_name_process(trace, 0, "rank 0"));
    assert_ok(col_trace_name_track(trace, 0, 1, "compute \"stream\"\n"));
    for (int i = 0; i < 20000; i++) { /* more than one flush */
        assert_ok(col_trace_span(trace, 0, 1, "op", "h.0.mlp", 10.5 * i, 10.0, i % 2 ? 4096 : 0));
    }
    assert_ok(col_trace_counter(trace, 0, "arena bytes", 12.25, 1e12));
    assert_ok(col_trace_span(trace, 0, 1, "op", "\xff", 1, 0, 0));
    assert_false(col_file_exists(path));
    assert_ok(col_trace_close(trace));
    json_error_t error;
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    assert_non_null(root);
    const json_t *events = json_object_get(root, "traceEvents");
    assert_int_equal(json_array_size(events), 20004);
    const json_t *track = json_array_get(events, 1), *span = json_array_get(events, 3);
    assert_string_equal(json_string_value(json_object_get(track, "ph")), "M");
    assert_string_equal(json_string_value(json_object_get(json_object_get(track, "args"), "name")),
                        "compute \"stream\"\n");
    assert_string_equal(json_string_value(json_object_get(span, "ph")), "X");
    assert_string_equal(json_string_value(json_object_get(span, "name")), "h.0.mlp");
    assert_true(json_number_value(json_object_get(span, "ts")) == 10.5);
    assert_true(json_number_value(json_object_get(span, "dur")) == 10);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(span, "args"), "bytes")), 4096);
    const json_t *counter = json_array_get(events, 20002);
    assert_string_equal(json_string_value(json_object_get(counter, "ph")), "C");
    assert_true(json_number_value(json_object_get(json_object_get(counter, "args"), "value")) == 1e12);
    assert_string_equal(json_string_value(json_object_get(json_array_get(events, 20003), "name")), "?");
    json_decref(root);
    assert_ok(col_trace_open(path, &trace));
    col_trace_discard(trace);
    assert_int_equal(folder_entries(f->path), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FOLDER_TEST(lines_have_the_promised_keys), FOLDER_TEST(resuming_cuts_later_steps),
        FOLDER_TEST(a_new_run_keeps_the_old_file), FOLDER_TEST(failures_are_told),
        cmocka_unit_test(crc_matches_its_vector),  FOLDER_TEST(events_are_framed_as_tensorboard_reads_them),
        FOLDER_TEST(two_boards_have_two_files),    FOLDER_TEST(trace_is_chrome_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
