/* Running a swept plan: colrun trains a few steps on synthetic data and writes its metrics into a temporary
 * folder, which goes afterwards. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "frontend/sweep.h"
#include "ir/base/file.h"
#include "ir/plan/plan_io.h"

enum { METRICS_BYTES = 1 << 26, SAID_BYTES = 2000 };

typedef struct run {
    const col_sweep_measuring *how;
    const char *folder, *plan, *metrics, *said;
    col_arena *arena;
} run;

static col_status make_folder(run *r)
{
    const char *temporary = getenv("TMPDIR");
    char *folder = col_arena_printf(r->arena, "%s/colc-XXXXXX", temporary && *temporary ? temporary : "/tmp");
    if (!mkdtemp(folder)) return col_error_from_errno(errno, "cannot make a temporary folder '%s'", folder);
    r->folder = folder;
    r->plan = col_arena_printf(r->arena, "%s/plan", folder);
    r->metrics = col_arena_printf(r->arena, "%s/log/metrics.jsonl", folder);
    r->said = col_arena_printf(r->arena, "%s/said", folder);
    return NULL;
}

static int remove_entry(const char *path, const struct stat *about, int kind, struct FTW *where)
{
    (void)about, (void)kind, (void)where;
    return remove(path);
}

/* In the child: both of its streams go to `said`. */
static void become_colrun(const run *r, char *const *argv)
{
    int file = open(r->said, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (file >= 0) {
        dup2(file, STDOUT_FILENO);
        dup2(file, STDERR_FILENO);
    }
    execv(argv[0], argv);
    _exit(127);
}

/* What colrun said last, for the error. */
static const char *last_words(const run *r)
{
    char *text;
    size_t size;
    if (col_error_ignore(col_file_read(r->arena, r->said, METRICS_BYTES, &text, &size))) return "";
    while (size && text[size - 1] == '\n') text[--size] = '\0';
    return size > SAID_BYTES ? text + size - SAID_BYTES : text;
}

static col_status train(const run *r)
{
    const char *argv[16];
    size_t n = 0;
    argv[n++] = col_arena_printf(r->arena, "%s/colrun", r->how->folder);
    argv[n++] = "train";
    argv[n++] = r->plan;
    argv[n++] = "--data=synthetic";
    argv[n++] = col_arena_printf(r->arena, "--steps=%lld", (long long)r->how->steps + 1);
    argv[n++] = "--val-every=0";
    argv[n++] = "--quiet";
    argv[n++] = col_arena_printf(r->arena, "--log-dir=%s/log", r->folder);
    if (r->how->threads) argv[n++] = col_arena_printf(r->arena, "--threads=%s", r->how->threads);
    argv[n] = NULL;
    fflush(NULL);
    pid_t child = fork();
    if (child < 0) return col_error_from_errno(errno, "cannot start '%s'", argv[0]);
    if (!child) become_colrun(r, (char *const *)(uintptr_t)argv);
    int how = 0;
    while (waitpid(child, &how, 0) < 0) {
        if (errno != EINTR) return col_error_from_errno(errno, "cannot wait for '%s'", argv[0]);
    }
    if (!WIFEXITED(how))
        return col_error_make(COL_DEVICE, "measuring: colrun ended by signal %d: %s", WTERMSIG(how),
                              last_words(r));
    int code = WEXITSTATUS(how);
    if (code == 0) return NULL;
    if (code == 127)
        return col_error_make(COL_DEVICE, "cannot start '%s', which should stand beside colc", argv[0]);
    return col_error_make(code == COL_BAD_INPUT ? COL_BAD_INPUT : COL_DEVICE, "--measure: %s", last_words(r));
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* The first step warms up and does not count. */
static col_status read_metrics(const run *r, double *out_seconds, uint64_t *out_peak)
{
    char *text;
    size_t size, count = 0;
    COL_TRY(col_file_read(r->arena, r->metrics, METRICS_BYTES, &text, &size));
    double *seconds = COL_NEW_ARRAY(r->arena, double, r->how->steps + 1);
    *out_peak = 0;
    bool first = true;
    char *rest = text;
    for (char *line; (line = strsep(&rest, "\n")) && count < (size_t)r->how->steps;) {
        json_t *step = json_loads(line, 0, NULL);
        double s = json_number_value(json_object_get(step, "step_seconds"));
        uint64_t peak = (uint64_t)json_integer_value(json_object_get(step, "peak_bytes"));
        json_decref(step);
        *out_peak = COL_MAX(*out_peak, peak);
        if (!first && s > 0) seconds[count++] = s;
        first = false;
    }
    if (!count) return col_error_make(COL_DEVICE, "measuring: colrun wrote no step into '%s'", r->metrics);
    qsort(seconds, count, sizeof *seconds, by_value);
    *out_seconds = (seconds[count / 2] + seconds[(count - 1) / 2]) / 2;
    return NULL;
}

col_status col_sweep_measure(const col_sweep_measuring *measuring, const col_plan *plan, col_arena *arena,
                             double *out_seconds, uint64_t *out_peak)
{
    run r = {.how = measuring, .arena = arena};
    COL_TRY(make_folder(&r));
    col_status status = col_plan_write(plan, r.plan);
    if (!status) status = train(&r);
    if (!status) status = read_metrics(&r, out_seconds, out_peak);
    (void)nftw(r.folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    return status;
}
