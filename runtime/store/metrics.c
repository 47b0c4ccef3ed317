#include "runtime/store/metrics.h"
#include "ir/base/file.h"
#include "ir/base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct col_metrics {
    char *path;
    int fd;
    off_t end; /* of the last whole line */
};

/* The step of a line, or -1 where there is none to read. */
static int64_t step_of(const char *line, size_t size)
{
    json_t *object = json_loadb(line, size, 0, NULL);
    const json_t *step = json_object_get(object, "step");
    int64_t result = json_is_integer(step) ? json_integer_value(step) : -1;
    json_decref(object);
    return result;
}

/* Bytes of the lines before the first one of a step beyond `last`; a line without an end counts as torn. */
static off_t kept_bytes(const char *text, size_t size, int64_t last)
{
    const char *at = text, *end = text + size;
    while (at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        if (!newline || step_of(at, (size_t)(newline - at)) > last) break;
        at = newline + 1;
    }
    return (off_t)(at - text);
}

static col_status cut(col_metrics *metrics, int64_t resume_step)
{
    col_arena *arena = col_arena_create();
    char *text = NULL;
    size_t size = 0;
    col_status status = col_file_read(arena, metrics->path, 0, &text, &size);
    if (!status) {
        metrics->end = kept_bytes(text, size, resume_step);
        if (ftruncate(metrics->fd, metrics->end)) {
            status = col_error_from_errno(errno, "cannot write '%s'", metrics->path);
        }
    }
    col_arena_destroy(arena);
    return status;
}

/* Moves the file of an earlier run to the first free metrics.N.jsonl. */
static col_status keep_earlier(const char *dir, const char *path)
{
    col_str kept = {0};
    int n = 1;
    do {
        col_str_clear(&kept);
        col_str_printf(&kept, "%s/metrics.%d.jsonl", dir, n++);
    } while (col_file_exists(col_str_text(&kept)));
    col_status status = NULL;
    if (rename(path, col_str_text(&kept))) status = col_error_from_errno(errno, "cannot rename '%s'", path);
    col_str_fini(&kept);
    return status;
}

static col_status open_file(col_metrics *metrics, const char *dir, int64_t resume_step)
{
    COL_TRY(col_make_folder(dir));
    struct stat info;
    bool exists = !stat(metrics->path, &info) && info.st_size > 0;
    if (exists && resume_step < 0) COL_TRY(keep_earlier(dir, metrics->path));
    metrics->fd = open(metrics->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (metrics->fd < 0) return col_error_from_errno(errno, "cannot write '%s'", metrics->path);
    return exists && resume_step >= 0 ? cut(metrics, resume_step) : NULL;
}

col_status col_metrics_open(const char *dir, int64_t resume_step, col_metrics **out_metrics)
{
    col_metrics *metrics = calloc(1, sizeof *metrics);
    if (!metrics) col_out_of_memory(0);
    metrics->fd = -1;
    col_str path = {0};
    col_str_printf(&path, "%s/metrics.jsonl", dir);
    metrics->path = path.data;
    col_status status = open_file(metrics, dir, resume_step);
    if (!status) {
        *out_metrics = metrics;
        return NULL;
    }
    col_metrics_close(metrics);
    return col_error_annotate(status, "no log can be kept in '%s' (give another --log-dir)", dir);
}

static const char *non_finite_word(double value)
{
    return isnan(value) ? "nan" : value > 0 ? "inf" : "-inf";
}

/* The shortest decimal that reads back as the same double. */
static void append_number(col_str *line, const char *key, double value, col_str *non_finite)
{
    if (!isfinite(value)) {
        col_str_printf(line, ",\"%s\":null", key);
        col_str_printf(non_finite, "%s\"%s\":\"%s\"", non_finite->len ? "," : "", key,
                       non_finite_word(value));
        return;
    }
    char text[32];
    if (fabs(value) < 0x1p53 && value == floor(value)) { /* without an exponent */
        col_str_printf(line, ",\"%s\":%.0f", key, value);
        return;
    }
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value) break;
    }
    col_str_printf(line, ",\"%s\":%s", key, text);
}

static void append_row(col_str *line, const col_metrics_row *row)
{
    col_str non_finite = {0};
    col_str_printf(line, "{\"step\":%" PRId64, row->step);
    append_number(line, "loss", row->loss, &non_finite);
    append_number(line, "grad_norm", row->grad_norm, &non_finite);
    append_number(line, "lr", row->lr, &non_finite);
    if (row->loss_scale > 0) append_number(line, "loss_scale", row->loss_scale, &non_finite);
    if (row->skipped) col_str_append(line, ",\"skipped\":true");
    append_number(line, "step_seconds", row->step_seconds, &non_finite);
    char speed[64];
    snprintf(speed, sizeof speed, "%s_per_second", row->unit);
    append_number(line, speed, row->units_per_second, &non_finite);
    if (row->mfu < 0) {
        col_str_append(line, ",\"mfu\":null");
    } else {
        append_number(line, "mfu", row->mfu, &non_finite);
    }
    col_str_printf(line, ",\"peak_bytes\":%" PRIu64, row->peak_bytes);
    append_number(line, "communication_bytes", row->communication_bytes, &non_finite);
    for (size_t i = 0; i < row->collective_count; i++) {
        const char *before = i ? "" : ",\"collective_bytes\":{";
        col_str_printf(line, "%s%s\"%s\":%.17g", before, i ? "," : "", row->collectives[i].name,
                       row->collectives[i].bytes);
    }
    if (row->collective_count) col_str_append(line, "}");
    if (row->has_val_loss) append_number(line, "val_loss", row->val_loss, &non_finite);
    if (non_finite.len) col_str_printf(line, ",\"non_finite\":{%s}", col_str_text(&non_finite));
    col_str_append(line, "}\n");
    col_str_fini(&non_finite);
}

col_status col_metrics_write(col_metrics *metrics, const col_metrics_row *row)
{
    col_str line = {0};
    append_row(&line, row);
    ssize_t put;
    do {
        put = write(metrics->fd, line.data, line.len);
    } while (put < 0 && errno == EINTR);
    int saved = put < 0 ? errno : ENOSPC; /* a short write to a regular file is a disk that filled up */
    bool whole = put == (ssize_t)line.len;
    col_str_fini(&line);
    if (whole) {
        metrics->end += put;
        return NULL;
    }
    if (put > 0 && ftruncate(metrics->fd, metrics->end)) saved = errno;
    return col_error_from_errno(saved, "cannot write '%s'", metrics->path);
}

void col_metrics_close(col_metrics *metrics)
{
    if (!metrics) return;
    if (metrics->fd >= 0) close(metrics->fd);
    free(metrics->path);
    free(metrics);
}
