/* Running swept plans: in each turn colrun trains a few steps of every plan on synthetic data and writes its metrics into
 * a temporary folder, which goes afterwards. */
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

typedef struct bench_plan {
    const char *path;
    double *seconds; /* [how.steps], those of `count` steps */
    int64_t count;
    uint64_t peak;
} bench_plan;

struct col_sweep_bench {
    col_sweep_measuring how;
    const char *folder, *metrics, *said;
    col_arena *arena;
    COL_VEC(bench_plan) plans;
};

col_status col_sweep_bench_create(const col_sweep_measuring *measuring, col_arena *arena,
                                  col_sweep_bench **out_bench)
{
    char *folder;
    COL_TRY(col_file_temporary_folder(arena, &folder));
    col_sweep_bench *b = COL_NEW(arena, col_sweep_bench);
    b->how = *measuring;
    b->arena = arena;
    b->folder = folder;
    b->metrics = col_arena_printf(arena, "%s/log/metrics.jsonl", folder);
    b->said = col_arena_printf(arena, "%s/said", folder);
    *out_bench = b;
    return NULL;
}

static int remove_entry(const char *path, const struct stat *about, int kind, struct FTW *where)
{
    (void)about, (void)kind, (void)where;
    return remove(path);
}

void col_sweep_bench_destroy(col_sweep_bench *bench)
{
    if (bench) (void)nftw(bench->folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

col_status col_sweep_bench_add(col_sweep_bench *bench, const col_plan *plan)
{
    bench_plan added = {
        .path = col_arena_printf(bench->arena, "%s/%zu.plan", bench->folder, bench->plans.len),
        .seconds = COL_NEW_ARRAY(bench->arena, double, bench->how.steps),
    };
    COL_TRY(col_plan_write(plan, added.path));
    col_vec_push(bench->arena, &bench->plans, added);
    return NULL;
}

/* In the child: both of its streams go to `said`. */
static void become_colrun(const col_sweep_bench *b, char *const *argv)
{
    int file = open(b->said, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (file >= 0) {
        dup2(file, STDOUT_FILENO);
        dup2(file, STDERR_FILENO);
    }
    execv(argv[0], argv);
    _exit(127);
}

/* What colrun said last, for the error. */
static const char *last_words(const col_sweep_bench *b)
{
    char *text;
    size_t size;
    if (col_error_ignore(col_file_read(b->arena, b->said, METRICS_BYTES, &text, &size))) return "";
    while (size && text[size - 1] == '\n') text[--size] = '\0';
    return size > SAID_BYTES ? text + size - SAID_BYTES : text;
}

static col_status train(const col_sweep_bench *b, const char *plan, int64_t steps)
{
    const char *argv[16];
    size_t n = 0;
    argv[n++] = col_arena_printf(b->arena, "%s/colrun", b->how.folder);
    argv[n++] = "train";
    argv[n++] = plan;
    argv[n++] = "--data=synthetic";
    argv[n++] = col_arena_printf(b->arena, "--steps=%lld", (long long)steps + 1);
    argv[n++] = "--val-every=0";
    argv[n++] = "--quiet";
    argv[n++] = col_arena_printf(b->arena, "--log-dir=%s/log", b->folder);
    if (b->how.threads) argv[n++] = col_arena_printf(b->arena, "--threads=%s", b->how.threads);
    argv[n] = NULL;
    fflush(NULL);
    pid_t child = fork();
    if (child < 0) return col_error_from_errno(errno, "cannot start '%s'", argv[0]);
    if (!child) become_colrun(b, (char *const *)(uintptr_t)argv);
    int how = 0;
    while (waitpid(child, &how, 0) < 0) {
        if (errno != EINTR) return col_error_from_errno(errno, "cannot wait for '%s'", argv[0]);
    }
    if (!WIFEXITED(how))
        return col_error_make(COL_DEVICE, "measuring: colrun ended by signal %d: %s", WTERMSIG(how),
                              last_words(b));
    int code = WEXITSTATUS(how);
    if (code == 0) return NULL;
    if (code == 127)
        return col_error_make(COL_DEVICE, "cannot start '%s', which should stand beside colc", argv[0]);
    return col_error_make(code == COL_BAD_INPUT ? COL_BAD_INPUT : COL_DEVICE, "--measure: %s", last_words(b));
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Adds the steps to those of the plan, but for the first, which warms up. */
static col_status read_metrics(const col_sweep_bench *b, bench_plan *plan, int64_t steps)
{
    col_arena *scratch = col_arena_create();
    char *rest;
    size_t size;
    int64_t seen = 0;
    col_status status = col_file_read(scratch, b->metrics, METRICS_BYTES, &rest, &size);
    if (status) rest = NULL;
    for (char *line; (line = strsep(&rest, "\n")) && seen <= steps;) {
        json_t *step = json_loads(line, 0, NULL);
        double seconds = json_number_value(json_object_get(step, "step_seconds"));
        uint64_t peak = (uint64_t)json_integer_value(json_object_get(step, "peak_bytes"));
        json_decref(step);
        if (!(seconds > 0)) continue;
        plan->peak = COL_MAX(plan->peak, peak);
        if (seen++) plan->seconds[plan->count++] = seconds;
    }
    col_arena_destroy(scratch);
    if (!status && seen <= steps)
        status = col_error_make(COL_DEVICE, "measuring: colrun wrote %lld of %lld steps into '%s'",
                                (long long)seen, (long long)steps + 1, b->metrics);
    return status;
}

col_status col_sweep_bench_run(col_sweep_bench *bench, size_t plan, int turn)
{
    COL_ASSERT(plan < bench->plans.len && turn >= 0 && turn < COL_SWEEP_TURNS);
    bench_plan *p = &bench->plans.data[plan];
    int64_t steps = bench->how.steps / COL_SWEEP_TURNS + (turn < bench->how.steps % COL_SWEEP_TURNS);
    if (!steps) return NULL;
    COL_TRY(train(bench, p->path, steps));
    return read_metrics(bench, p, steps);
}

void col_sweep_bench_result(const col_sweep_bench *bench, size_t plan, double *out_seconds,
                            uint64_t *out_peak)
{
    const bench_plan *p = &bench->plans.data[plan];
    COL_ASSERT(p->count == bench->how.steps);
    qsort(p->seconds, (size_t)p->count, sizeof *p->seconds, by_value);
    *out_seconds = (p->seconds[p->count / 2] + p->seconds[(p->count - 1) / 2]) / 2;
    *out_peak = p->peak;
}
