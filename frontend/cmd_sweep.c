/* colc sweep: compiles a model under several memory limits or batch sizes and tells what each costs. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "frontend/commands.h"
#include "frontend/predict.h"
#include "frontend/program.h"
#include "frontend/report.h"
#include "frontend/sweep.h"
#include "ir/base/file.h"

static const double RISE = 1.005; /* of samples per second that makes a doubled batch worth it */
static const int64_t BATCH_MOST = 1 << 20;
enum { BATCH_GRAIN = 16 }; /* the largest batch is found to within a 16th */

static const char default_limits[] = "100%,90%,80%,70%,60%,50%,40%,30%";
static const char *const forced[] = {"none", "all", "sqrt"};

/* --memory and --batch take lists here. These stand before those of compiling. */
static const col_option own_options[] = {
    {"memory", "LIST",
     "limits of a device: parts of the peak without recomputation, or sizes: 100%,80%,60% or 40GiB,20GiB "
     "(default: 100% to 30%); with several batches one limit: a size, or a part of what the machine has",
     false},
    {"batch", "LIST|auto", "batch sizes: 8,16,32, or auto: the one with the highest throughput that fits",
     false},
    {"checkpoint", "NAME", NULL, false}, /* refused with its reason */
    {"measure", NULL, "train a few steps of each plan on this machine, too", false},
    {"measure-steps", "N", "steps of each plan that are timed, in three turns (default 6)", false},
    {"threads", "N", "CPU threads for --measure (as many as the process may use)", false},
    {"output", "FILE.csv", "the table's file (-o; default: MODEL.sweep.csv); the picture is FILE.svg", false},
};

typedef struct sweeper {
    const col_options *options;
    col_arena *arena;
    const char *model;
    col_sweep sweep;
    bool measures;
    col_sweep_measuring measuring;
    col_sweep_bench *bench; /* NULL: nothing is measured */
    int64_t planned;        /* plans there */
    bool batch_given;       /* one batch for all rows, in the options */
    bool terminal;          /* progress is one line that changes */
    size_t total;           /* rows; 0: not known */
} sweeper;

/* ---- one row ---- */

static void push_option(sweeper *s, col_options *to, const char *name, const char *value)
{
    const col_option *table = col_compile_option_table;
    const col_option *option = col_option_find(&table, &col_compile_option_count, 1, name);
    COL_ASSERT(option);
    col_option_value entry = {option, value};
    col_vec_push(s->arena, &to->values, entry);
}

/* The options of compiling this row: those given, with the row's own limit, batch and kind. */
static col_options *row_options(sweeper *s, const col_sweep_row *row)
{
    col_options *out = COL_NEW(s->arena, col_options);
    for (size_t i = 0; i < s->options->values.len; i++) {
        const col_option_value *v = &s->options->values.data[i];
        bool is_own = v->option >= own_options && v->option < own_options + COL_COUNT(own_options);
        if (!is_own) col_vec_push(s->arena, &out->values, *v);
    }
    push_option(s, out, "checkpoint", row->checkpoint);
    if (row->limit) push_option(s, out, "memory", col_arena_printf(s->arena, "%" PRIu64, row->limit));
    if (row->batch) push_option(s, out, "batch", col_arena_printf(s->arena, "%" PRId64, row->batch));
    return out;
}

static int64_t batch_of(const col_plan *plan)
{
    for (size_t i = 0; plan->source && i < plan->source->n_settings; i++) {
        const Col__Plan__Setting *setting = plan->source->settings[i];
        if (!strcmp(setting->name, "batch")) return setting->int_value;
    }
    return 0;
}

static void read_figures(const col_plan *plan, col_sweep_row *row)
{
    row->status = COL_SWEEP_OK;
    row->batch = batch_of(plan);
    row->peak = plan->arena_bytes;
    row->state = plan->state_bytes;
    row->seconds = col_predict_step(plan);
    double samples = (double)row->batch * (double)COL_MAX(plan->accumulate, 1);
    row->samples = row->seconds > 0 ? samples / row->seconds : 0;
    row->compile_seconds = plan->compile_seconds;
}

/* The figure that the compiler's message of what does not fit names after "--memory" the second time: "does
 * not fit --memory 1.0 GiB of a device: it needs --memory 1234567 (1.1 MiB) or more". */
static uint64_t least_of(const char *message)
{
    static const char before[] = "needs --memory ";
    const char *at = strstr(message, before);
    return at ? strtoull(at + strlen(before), NULL, 10) : 0;
}

/* What does not fit, and forced kinds that cannot be had, are results; every other failure ends the sweep. */
static col_status take_failure(sweeper *s, col_status status, col_sweep_row *row)
{
    bool is_forced = strcmp(row->checkpoint, "auto") && strcmp(row->checkpoint, "none");
    if (col_error_code(status) == COL_INFEASIBLE)
        row->status = COL_SWEEP_INFEASIBLE;
    else if (col_error_code(status) == COL_BAD_INPUT && is_forced)
        row->status = COL_SWEEP_UNSUPPORTED;
    else
        return status;
    row->reason = col_arena_strdup(s->arena, col_error_message(status));
    row->least = row->status == COL_SWEEP_INFEASIBLE ? least_of(row->reason) : 0;
    col_error_free(status);
    return NULL;
}

static col_status compile_row(sweeper *s, const col_options *options, col_arena *scratch, col_plan **out_plan)
{
    col_compile_options compile = {.model_path = s->model};
    COL_TRY(col_compile_options_read(options, scratch, &compile));
    COL_TRY(col_compile_use_read(options, scratch, &compile));
    if (compile.stop_after)
        return col_error_make(COL_BAD_INPUT, "--stop-after: a sweep needs whole plans; leave it out");
    if (s->measures && compile.use != COL_USE_TRAIN)
        return col_error_make(COL_BAD_INPUT,
                              "--measure: only training steps can be measured; give a model with a loss and "
                              "leave --for out");
    s->sweep.machine = col_arena_strdup(s->arena, compile.machine.name);
    return col_compile(&compile, scratch, out_plan);
}

/* `turn` is for what is measured; -1: compiles. */
static void say(const sweeper *s, size_t at, const col_sweep_row *row, int turn)
{
    col_str line = {0};
    size_t total = turn < 0 ? s->total : s->sweep.rows.len;
    col_str_printf(&line, "%zu", at + 1);
    if (total) col_str_printf(&line, "/%zu", total);
    col_str_printf(&line, "  --checkpoint %s", row->checkpoint);
    if (*row->label) col_str_printf(&line, " --memory %s", row->label);
    if (s->sweep.over_batches && row->batch) col_str_printf(&line, " --batch %" PRId64, row->batch);
    if (turn < 0)
        col_str_append(&line, ": compiling");
    else
        col_str_printf(&line, ": measuring, turn %d of %d", turn + 1, COL_SWEEP_TURNS);
    fprintf(stderr, s->terminal ? "\r\033[K%s" : "%s\n", col_str_text(&line));
    fflush(stderr);
    col_str_fini(&line);
}

static void end_line(const sweeper *s)
{
    if (s->terminal) fprintf(stderr, "\r\033[K");
}

/* Compiles the row and adds it with its figures. */
static col_status make_row(sweeper *s, col_sweep_row row, col_sweep_row *out_row)
{
    col_arena *scratch = col_arena_create();
    col_plan *plan = NULL;
    bool runs = false;
    say(s, s->sweep.rows.len, &row, -1);
    col_status status = compile_row(s, row_options(s, &row), scratch, &plan);
    if (status) {
        status = take_failure(s, status, &row);
    } else {
        read_figures(plan, &row);
        if (s->sweep.limit_bytes && row.peak > s->sweep.limit_bytes) row.status = COL_SWEEP_OVER;
        runs = s->bench && row.status == COL_SWEEP_OK;
        if (runs) status = col_sweep_bench_add(s->bench, plan);
    }
    end_line(s);
    col_arena_destroy(scratch);
    COL_TRY(status);
    row.bench = runs ? s->planned++ : -1;
    col_vec_push(s->arena, &s->sweep.rows, row);
    if (out_row) *out_row = row;
    return NULL;
}

/* Rows that were compiled run on this machine, all of them in every turn. */
static col_status measure_rows(sweeper *s)
{
    for (int turn = 0; turn < COL_SWEEP_TURNS; turn++) {
        for (size_t i = 0; i < s->sweep.rows.len; i++) {
            const col_sweep_row *row = &s->sweep.rows.data[i];
            if (row->bench < 0) continue;
            say(s, i, row, turn);
            col_status status = col_sweep_bench_run(s->bench, (size_t)row->bench, turn);
            end_line(s);
            COL_TRY(status);
        }
    }
    for (size_t i = 0; i < s->sweep.rows.len; i++) {
        col_sweep_row *row = &s->sweep.rows.data[i];
        if (row->bench < 0) continue;
        col_sweep_bench_result(s->bench, (size_t)row->bench, &row->measured_seconds, &row->measured_peak);
        s->sweep.measured = true;
    }
    return NULL;
}

/* ---- over limits ---- */

static col_status sweep_limits(sweeper *s, int64_t batch)
{
    const char *text = col_options_get(s->options, "memory");
    col_sweep_limit *limits;
    size_t count;
    COL_TRY(col_sweep_limits(text ? text : default_limits, s->arena, &limits, &count));
    s->total = COL_COUNT(forced) + count;
    for (size_t i = 0; i < COL_COUNT(forced); i++)
        COL_TRY(make_row(s, (col_sweep_row){.checkpoint = forced[i], .label = "", .batch = batch}, NULL));
    double whole = (double)s->sweep.rows.data[0].peak;
    for (size_t i = 0; i < count; i++) {
        col_sweep_row row = {.checkpoint = "auto", .label = limits[i].label, .batch = batch};
        double bytes = limits[i].percent * whole / 100;
        row.limit = limits[i].percent > 0 ? (uint64_t)bytes : limits[i].bytes;
        if (!row.limit)
            return col_error_make(COL_BAD_INPUT, "--memory: %s of %.0f bytes leaves no memory; give more",
                                  limits[i].label, whole);
        COL_TRY(make_row(s, row, NULL));
    }
    return NULL;
}

/* ---- over batches ---- */

static col_status make_auto(sweeper *s, int64_t batch, col_sweep_row *out_row)
{
    col_sweep_row row = {
        .checkpoint = "auto", .label = s->sweep.limit, .limit = s->sweep.limit_bytes, .batch = batch};
    return make_row(s, row, out_row);
}

static col_status make_forced(sweeper *s, int64_t batch)
{
    for (size_t i = 0; i < COL_COUNT(forced); i++)
        COL_TRY(make_row(s, (col_sweep_row){.checkpoint = forced[i], .label = "", .batch = batch}, NULL));
    return NULL;
}

/* The batch of the model as the options leave it. */
static col_status find_own_batch(sweeper *s, int64_t *out_batch)
{
    col_compile_options compile = {.model_path = s->model};
    col_sweep_row any = {.checkpoint = "none"};
    col_graph *graph;
    COL_TRY(col_compile_options_read(row_options(s, &any), s->arena, &compile));
    COL_TRY(col_compile_parse(&compile, 0, 0, s->arena, &graph));
    for (size_t i = 0; i < graph->settings.len; i++) {
        *out_batch = graph->settings.data[i].int_value;
        if (!strcmp(graph->settings.data[i].name, "batch")) return NULL;
    }
    return col_error_make(COL_BAD_INPUT, "--batch: model '%s' has no batch to choose", s->model);
}

/* Doubles the batch while that pays and fits, or halves it until it fits; then looks between the largest that
 * fits and the smallest that does not. */
static col_status search_batch(sweeper *s)
{
    col_sweep_row row;
    int64_t fits = 0, fails = 0, batch;
    double before = 0;
    COL_TRY(find_own_batch(s, &batch));
    COL_TRY(make_auto(s, batch, &row));
    for (;;) {
        bool is_infeasible = row.status == COL_SWEEP_INFEASIBLE;
        if (is_infeasible) {
            fails = batch;
            if (fits || batch == 1) break;
            batch /= 2;
        } else {
            fits = batch;
            if (fails || row.samples < RISE * before || batch >= BATCH_MOST) break;
            before = row.samples;
            batch *= 2;
        }
        COL_TRY(make_auto(s, batch, &row));
    }
    while (fits && fails && fails - fits > COL_MAX(fits / BATCH_GRAIN, 1)) {
        batch = fits + (fails - fits) / 2;
        COL_TRY(make_auto(s, batch, &row));
        *(row.status == COL_SWEEP_OK ? &fits : &fails) = batch;
    }
    const col_sweep_row *best = col_sweep_best(&s->sweep);
    return best ? make_forced(s, best->batch) : NULL;
}

/* The one limit of all batches; without one --batch auto takes what the machine has. */
static col_status read_one_limit(sweeper *s, bool searches)
{
    const char *text = col_options_get(s->options, "memory");
    col_compile_options compile = {.model_path = s->model};
    col_sweep_row any = {.checkpoint = "none"};
    col_sweep_limit *limits;
    size_t count;
    s->sweep.limit = "";
    if (!text && !searches) return NULL;
    COL_TRY(col_sweep_limits(text ? text : "100%", s->arena, &limits, &count));
    if (count > 1)
        return col_error_make(
            COL_BAD_INPUT, "--memory: with several batches one limit, not %zu; sweep one of the two", count);
    COL_TRY(col_compile_options_read(row_options(s, &any), s->arena, &compile));
    double bytes = compile.machine.memory_bytes * limits[0].percent / 100;
    s->sweep.limit = limits[0].label;
    s->sweep.limit_bytes = limits[0].percent > 0 ? (uint64_t)bytes : limits[0].bytes;
    if (s->sweep.limit_bytes) return NULL;
    return col_error_make(COL_BAD_INPUT, "--memory: %s of machine %s leaves no memory; give a size, as 40GiB",
                          limits[0].label, compile.machine.name);
}

/* The forced kinds in their order, then auto. */
static int kind_order(const col_sweep_row *row)
{
    int i = 0;
    while (i < (int)COL_COUNT(forced) && strcmp(row->checkpoint, forced[i])) i++;
    return i;
}

static int by_batch(const void *a, const void *b)
{
    const col_sweep_row *x = a, *y = b;
    if (x->batch != y->batch) return x->batch < y->batch ? -1 : 1;
    return kind_order(x) - kind_order(y);
}

static col_status sweep_batches(sweeper *s, const char *text)
{
    bool searches = !strcmp(text, "auto");
    s->sweep.over_batches = true;
    COL_TRY(read_one_limit(s, searches));
    if (searches) {
        COL_TRY(search_batch(s));
        qsort(s->sweep.rows.data, s->sweep.rows.len, sizeof *s->sweep.rows.data, by_batch);
        return NULL;
    }
    int64_t *batches;
    size_t count;
    COL_TRY(col_sweep_batches(text, s->arena, &batches, &count));
    s->total = count * (COL_COUNT(forced) + 1);
    for (size_t i = 0; i < count; i++) {
        COL_TRY(make_forced(s, batches[i]));
        COL_TRY(make_auto(s, batches[i], NULL));
    }
    return NULL;
}

/* ---- the command ---- */

/* Where nothing that was swept fits, the least that would do. */
static col_status want_one(const col_sweep *sweep)
{
    uint64_t least = 0;
    for (size_t i = 0; i < sweep->rows.len; i++) {
        const col_sweep_row *row = &sweep->rows.data[i];
        if (strcmp(row->checkpoint, "auto")) continue;
        if (row->status == COL_SWEEP_OK) return NULL;
        if (row->least && (!least || row->least < least)) least = row->least;
    }
    char text[COL_HUMAN_SIZE];
    if (!least)
        return col_error_make(COL_INFEASIBLE,
                              "nothing that was swept fits, and no memory is known that does");
    return col_error_make(COL_INFEASIBLE,
                          "nothing that was swept fits; the smallest memory known to do is %" PRIu64
                          " bytes (%s)",
                          least, col_format_bytes(text, (double)least));
}

typedef struct files {
    const char *csv, *svg;
} files;

/* That it can be written is found out before the work. */
static col_status try_file(const char *path)
{
    col_writer *writer = NULL;
    COL_TRY(col_writer_open(path, &writer));
    col_writer_discard(writer);
    return NULL;
}

static col_status name_files(const sweeper *s, files *f)
{
    const char *output = col_options_get(s->options, "output"), *slash = strrchr(s->model, '/');
    const char *base = slash ? slash + 1 : s->model, *dot = strrchr(base, '.');
    size_t stem = dot && dot > base ? (size_t)(dot - base) : strlen(base);
    if (!output) output = col_arena_printf(s->arena, "%.*s.sweep.csv", (int)stem, base);
    size_t size = strlen(output);
    if (size < 5 || strcmp(output + size - 4, ".csv"))
        return col_error_make(COL_BAD_INPUT,
                              "--output: '%s' must end in .csv; the picture gets the same name with .svg",
                              output);
    f->csv = output;
    f->svg = col_arena_printf(s->arena, "%.*s.svg", (int)size - 4, output);
    COL_TRY(try_file(f->csv));
    return try_file(f->svg);
}

static col_status write_text(const char *path, col_str *text)
{
    col_status status = col_file_write(path, col_str_text(text), text->len);
    col_str_fini(text);
    return status;
}

static col_status write_files(const col_sweep *sweep, const files *f)
{
    col_str csv = {0}, svg = {0};
    col_sweep_print_csv(sweep, &csv);
    col_sweep_print_svg(sweep, &svg);
    col_status status = write_text(f->csv, &csv);
    return col_error_join(status, write_text(f->svg, &svg));
}

static col_status run_sweep(sweeper *s, const files *f)
{
    const char *batch = col_options_get(s->options, "batch");
    int64_t one = 0;
    if (batch && (strchr(batch, ',') || !strcmp(batch, "auto"))) {
        COL_TRY(sweep_batches(s, batch));
    } else {
        if (batch) COL_TRY(col_parse_int("--batch", batch, 1, INT32_MAX, &one));
        COL_TRY(sweep_limits(s, one));
    }
    if (s->bench) COL_TRY(measure_rows(s));
    col_str table = {0};
    col_sweep_print_table(&s->sweep, &table);
    fputs(col_str_text(&table), stdout);
    col_str_fini(&table);
    COL_TRY(write_files(&s->sweep, f));
    fprintf(stderr, "wrote %s and %s\n", f->csv, f->svg);
    return want_one(&s->sweep);
}

static col_status sweep(col_options *options, const col_command *command, col_arena *arena)
{
    sweeper s = {.options = options, .arena = arena, .terminal = isatty(STDERR_FILENO) == 1};
    files f = {0};
    COL_TRY(col_compile_recipe(options, arena));
    COL_TRY(col_command_argument(command, options, &s.model));
    s.sweep.model = s.model;
    s.measures = col_options_has(options, "measure");
    s.measuring.steps = 6;
    s.measuring.threads = col_options_get(options, "threads");
    COL_TRY(col_options_int(options, "measure-steps", 1, 10000, &s.measuring.steps));
    COL_TRY(col_program_place(arena, &s.measuring.folder, NULL));
    if (col_options_has(options, "checkpoint"))
        return col_error_make(COL_BAD_INPUT, "--checkpoint: a sweep compares all kinds; leave it out");
    COL_TRY(name_files(&s, &f));
    if (s.measures) COL_TRY(col_sweep_bench_create(&s.measuring, arena, &s.bench));
    col_status status = run_sweep(&s, &f);
    col_sweep_bench_destroy(s.bench);
    return status;
}

col_status col_command_sweep(const col_command *command, int argc, char **argv)
{
    const col_option *tables[] = {own_options, &col_compile_use_option, col_compile_option_table};
    size_t sizes[] = {COL_COUNT(own_options), 1, col_compile_option_count};
    return col_command_run(command, tables, sizes, COL_COUNT(tables), argc, argv, sweep);
}
