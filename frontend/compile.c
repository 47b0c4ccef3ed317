#include "frontend/compile.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "codegen/emit.h"
#include "frontend/describe.h"
#include "frontend/variables.h"
#include "ir/base/file.h"
#include "passes/shard.h"

enum {
    PREFILL_TOKENS = 64, /* of the prompt that one run of "prefill" takes */
    MEMORY_TRIES = 4,    /* at a plan that takes no more memory than there is */
    SWEPT_NODES =
        5000, /* of the sharding problem: larger ones are not solved again for a little less memory */
};
static const double SOLVER_GAP = 0.01;  /* at which it may stop */
static const double SOLVER_STALL = 0.5; /* of the work so far without progress, when it gives up */

/* One program on its way. */
typedef struct program {
    const char *name;
    col_graph *graph;
    col_units *units;
    const col_kernel **kernels;
    col_memory memory;
    col_shard_report shard; /* of a program that was split */
} program;

typedef struct compiler {
    const col_compile_options *options;
    col_arena *arena;
    col_plan *plan;
    col_emitter emitter;
    bool graphs_only;       /* stop before lowering */
    int64_t sharding_bytes; /* that the sharding solver may use of a device; 0: no limit */
    int sharding_threads;   /* 0: as the solver likes */
    program programs[COL_COMPILE_PROGRAMS];
    size_t program_count;
    const col_source *source;
    col_variables variables;
    col_map *settled; /* layouts of variables that an earlier program chose, by name */
    COL_VEC(Col__Plan__PassTime *) times;
    const char *program_name; /* of the passes that are running */
} compiler;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Parsing. */

static col_status read_source(const col_compile_options *options, col_arena *arena,
                              const col_source **out_source)
{
    char *text;
    size_t size;
    *out_source = options->source;
    if (*out_source) return NULL;
    COL_TRY(col_file_read(arena, options->model_path, COL_PARSE_BYTES, &text, &size));
    col_source source = {options->model_path, text, size};
    *out_source = col_arena_copy(arena, &source, sizeof source);
    return NULL;
}

col_status col_compile_parse(const col_compile_options *options, int64_t batch, int64_t seq, col_arena *arena,
                             col_graph **out_graph)
{
    const col_source *source;
    COL_TRY(read_source(options, arena, &source));
    col_parse_options parse = options->parse;
    if (batch) parse.batch = batch;
    if (seq) parse.seq = seq;
    return col_parse_model(source, &parse, arena, out_graph);
}

/* Passes. */

static void record_time(compiler *c, const char *name, double seconds)
{
    const char *full = *c->program_name ? col_arena_printf(c->arena, "%s.%s", c->program_name, name) : name;
    Col__Plan__PassTime *time = COL_NEW(c->arena, Col__Plan__PassTime);
    col__plan__pass_time__init(time);
    time->name = (char *)(uintptr_t)full;
    time->seconds = seconds;
    col_vec_push(c->arena, &c->times, time);
}

static col_status dump_graph(compiler *c, const char *pass, const col_graph *graph)
{
    const col_compile_options *o = c->options;
    bool print = o->print_after && (!strcmp(o->print_after, pass) || !strcmp(o->print_after, "all"));
    if (!print && !o->dump_dir) return NULL;
    col_str text = {0};
    col_graph_print(graph, &text);
    if (print) printf("# %s after %s\n%s\n", c->program_name, pass, col_str_text(&text));
    col_status status = NULL;
    if (o->dump_dir) {
        const char *path =
            col_arena_printf(c->arena, "%s/%s.%02zu.%s.ir", o->dump_dir, c->program_name, c->times.len, pass);
        status = col_file_write(path, col_str_text(&text), text.len);
    }
    col_str_fini(&text);
    return status;
}

static col_status after_pass(void *context, const col_pass *pass, const col_graph *graph, double seconds)
{
    compiler *c = context;
    record_time(c, pass->name, seconds);
    return dump_graph(c, pass->name, graph);
}

/* Runs the named passes in order; `*out_stopped` tells that --stop-after's was among them. */
static col_status run_passes(compiler *c, col_graph *graph, const char *const *names, size_t count,
                             const col_pass_options *options, bool *out_stopped)
{
    const col_pass *passes[16];
    size_t n = 0;
    COL_ASSERT(count <= COL_COUNT(passes));
    for (size_t i = 0; i < count && !*out_stopped; i++) {
        passes[n] = col_pass_find(names[i]);
        if (passes[n]->run == col_pass_precision && options->precision == COL_F32)
            continue; /* has nothing to do */
        COL_ASSERT(passes[n]);
        *out_stopped = c->options->stop_after && !strcmp(c->options->stop_after, passes[n]->name);
        n++;
    }
    col_pass_hooks hooks = {c, after_pass};
    return col_passes_run(graph, passes, n, options, &hooks);
}

/* Splits the program over the mesh. What it chooses for variables holds for the programs after it. */
static col_status split_program(compiler *c, program *p, const col_pass_options *options, bool *out_stopped)
{
    static const char *const names[] = {"lower", "fold", "cse", "dce", "fuse", "schedule"};
    COL_TRY(run_passes(c, p->graph, names, COL_COUNT(names), options, out_stopped));
    if (*out_stopped) return NULL;
    double start = now();
    const col_compile_options *o = c->options;
    col_shard_options shard = {.mesh = o->mesh,
                               .machine = &o->machine,
                               .memory = c->sharding_bytes,
                               .threads = c->sharding_threads,
                               .accumulate = options->accumulate,
                               .gap = SOLVER_GAP,
                               .stall = SOLVER_STALL,
                               .seconds = o->solve_seconds,
                               .settled = c->settled,
                               .compare = c->program_count == 1};
    COL_ASSERT(col_plan_kind_parse(o->plan_name, &shard.plan));
    if (c->program_count > 1) shard.plan = COL_PLAN_AUTO;
    col_sharding sharding = {0};
    COL_TRY(col_shard(p->graph, &shard, c->arena, &sharding, &p->shard));
    record_time(c, "shard", now() - start);
    start = now();
    bool is_first = c->program_count == 1;
    col_shard_log log;
    col_shard_log_init(&log, p->graph, &sharding, c->arena);
    p->graph = col_partition(p->graph, &sharding, c->arena, is_first ? &log : NULL);
    if (is_first) c->plan->sharding = col_describe_sharding(p->name, shard.plan, &log, &p->shard, c->arena);
    record_time(c, "partition", now() - start);
    for (size_t i = 0; i < p->graph->vars.len; i++) {
        const col_var *var = p->graph->vars.data[i];
        col_map_set(c->settled, var->name, col_arena_copy(c->arena, &var->layout, sizeof var->layout));
    }
    *out_stopped = o->stop_after && !strcmp(o->stop_after, "partition");
    return dump_graph(c, "partition", p->graph);
}

/* From primitives to scheduled kernels: the same for every program. */
static const char *const backend_passes[] = {"lower",    "fold", "cse", "dce",  "bucket",
                                             "legalize", "cse",  "dce", "fuse", "schedule"};

/* Outputs that a program keeps. */

static void keep_outputs(col_graph *graph, bool (*keep)(const col_output *output))
{
    size_t kept = 0;
    for (size_t i = 0; i < graph->outputs.len; i++) {
        if (keep(&graph->outputs.data[i])) graph->outputs.data[kept++] = graph->outputs.data[i];
    }
    graph->outputs.len = kept;
}

static bool is_scalar(const col_output *output)
{
    return output->value->type.shape.rank == 0;
}

static bool is_logits(const col_output *output)
{
    return !strcmp(output->name, "logits");
}

static bool is_nothing(const col_output *output)
{
    (void)output;
    return false;
}

/* Drops the outputs that depend on an input that is not fed. */
static void keep_fed_outputs(const compiler *c, col_graph *graph)
{
    const col_compile_options *o = c->options;
    uint8_t *unfed = COL_NEW_ARRAY(c->arena, uint8_t, graph->next_value_id);
    for (size_t i = 0; i < graph->vars.len; i++) {
        const col_var *var = graph->vars.data[i];
        bool fed = var->kind != COL_VAR_INPUT || !strcmp(var->name, "rng");
        for (size_t n = 0; n < o->fed_count; n++) fed |= !strcmp(o->fed[n], var->name);
        unfed[var->value->id] = !fed;
    }
    COL_FOR_EACH_NODE (node, graph) {
        uint8_t any = 0;
        for (uint32_t i = 0; i < node->operand_count; i++) any |= unfed[col_node_operand(node, i)->id];
        for (uint32_t i = 0; i < node->result_count; i++) unfed[node->results[i].id] = any;
    }
    size_t kept = 0;
    for (size_t i = 0; i < graph->outputs.len; i++) {
        if (!unfed[graph->outputs.data[i].value->id]) graph->outputs.data[kept++] = graph->outputs.data[i];
    }
    if (kept) graph->outputs.len = kept; /* else all are kept, and the executor lists what is missing */
}

/* What partitioning prints is not a model to compile: only compilation knows the rest of the program. */
static col_status want_whole(const compiler *c, const col_graph *graph)
{
    if (!graph->mesh.rank) return NULL;
    col_str mesh = {0};
    col_mesh_print(&graph->mesh, &mesh);
    col_status status =
        col_error_make(COL_BAD_INPUT,
                       "%s: this is the program of one rank of the mesh %s; give the model that "
                       "it was made from, and --mesh %s",
                       c->source->name, col_str_text(&mesh), col_str_text(&mesh));
    col_str_fini(&mesh);
    return status;
}

/* Makes the graph of one program: parse, then the passes that are the program's own. */
static col_status make_program(compiler *c, const char *name, int64_t batch, int64_t seq,
                               bool (*keep)(const col_output *), const char *const *own_passes,
                               size_t own_count, bool *out_stopped)
{
    program *p = &c->programs[c->program_count++];
    p->name = name;
    c->program_name = name;
    double start = now();
    col_parse_options parse = c->options->parse;
    if (batch) parse.batch = batch;
    if (seq) parse.seq = seq;
    COL_TRY(col_parse_model(c->source, &parse, c->arena, &p->graph));
    COL_TRY(want_whole(c, p->graph));
    record_time(c, "parse", now() - start);
    col_variables_note(&c->variables, p->graph);
    COL_TRY(dump_graph(c, "parse", p->graph));
    *out_stopped = c->options->stop_after && !strcmp(c->options->stop_after, "parse");
    if (keep) keep_outputs(p->graph, keep);
    if (c->options->use == COL_USE_FORWARD && c->options->fed_count) keep_fed_outputs(c, p->graph);
    col_pass_options options = c->options->passes;
    for (size_t i = 0; i < p->graph->settings.len; i++) {
        if (!strcmp(p->graph->settings.data[i].name, "context"))
            options.cache_length = p->graph->settings.data[i].int_value;
    }
    static const char *const unmerge[] = {"unmerge"};
    bool splits = col_mesh_size(&c->options->mesh) > 1 && !c->graphs_only;
    if (splits && !*out_stopped) COL_TRY(run_passes(c, p->graph, unmerge, 1, &options, out_stopped));
    if (!*out_stopped) COL_TRY(run_passes(c, p->graph, own_passes, own_count, &options, out_stopped));
    if (splits && !*out_stopped) COL_TRY(split_program(c, p, &options, out_stopped));
    if (!*out_stopped && !c->graphs_only)
        COL_TRY(run_passes(c, p->graph, backend_passes, COL_COUNT(backend_passes), &options, out_stopped));
    return NULL;
}

static col_status need(const col_graph *graph, const char *what, bool has, const char *use)
{
    if (has) return NULL;
    return col_error_make(COL_BAD_INPUT, "model '%s' has no %s, which %s needs", graph->name, what, use);
}

/* Programs of a use. */

static col_status make_training(compiler *c, bool *stopped)
{
    static const char *const train[] = {"precision", "autodiff", "optimizer"}, *const eval[] = {"inference",
                                                                                                "precision",
                                                                                                "dce"};
    COL_TRY(make_program(c, "step", 0, 0, is_scalar, train, COL_COUNT(train), stopped));
    if (*stopped) return NULL;
    return make_program(c, "eval", 0, 0, is_scalar, eval, COL_COUNT(eval), stopped);
}

static col_status make_forward(compiler *c, bool *stopped)
{
    static const char *const forward[] = {"inference", "precision", "dce"};
    return make_program(c, "forward", 0, 0, NULL, forward, COL_COUNT(forward), stopped);
}

/* Inputs of the two programs have different shapes, so they get the program's name. */
static void name_inputs(program *p, col_arena *arena)
{
    for (size_t i = 0; i < p->graph->vars.len; i++) {
        col_var *var = p->graph->vars.data[i];
        if (var->kind != COL_VAR_INPUT || !strcmp(var->name, "position") ||
            !strcmp(var->name, COL_MESH_COORDINATE))
            continue;
        var->name = col_arena_printf(arena, "%s.%s", p->name, var->name);
    }
}

static col_status make_generation(compiler *c, bool *stopped)
{
    static const char *const cached[] = {"inference", "kv_cache", "precision", "dce"};
    COL_TRY(make_program(c, "decode", 1, 1, is_logits, cached, COL_COUNT(cached), stopped));
    const col_graph *graph = c->programs[0].graph;
    int64_t context = 0;
    for (size_t i = 0; i < graph->settings.len; i++) {
        if (!strcmp(graph->settings.data[i].name, "context")) context = graph->settings.data[i].int_value;
    }
    COL_TRY(need(graph, "output 'logits'", graph->outputs.len == 1, "generating text"));
    COL_TRY(
        need(graph, "input 'input_ids'", col_graph_find_var(graph, "input_ids") != NULL, "generating text"));
    name_inputs(&c->programs[0], c->arena);
    if (*stopped) return NULL;
    int64_t chunk = COL_MIN(context, (int64_t)PREFILL_TOKENS);
    COL_TRY(make_program(c, "prefill", 1, chunk, is_nothing, cached, COL_COUNT(cached), stopped));
    name_inputs(&c->programs[1], c->arena);
    return NULL;
}

/* Back end. */

typedef struct kernels_of {
    const col_units *units;
    const col_kernel *const *kernels;
} kernels_of;

static bool kernel_in_place(void *context, const col_unit *unit, const col_value *input,
                            const col_value *output)
{
    const kernels_of *k = context;
    return col_emit_in_place(k->kernels[unit - k->units->units], input, output);
}

static col_status place(compiler *c, program *p)
{
    double start = now();
    c->program_name = p->name;
    p->units = col_units_of(p->graph, c->arena);
    col_memory_fix_strides(p->graph, p->units, c->arena, &p->memory);
    p->kernels = col_emit_kernels(&c->emitter, p->units, p->memory.placements);
    record_time(c, "kernels", now() - start);
    start = now();
    const uint64_t *offsets = col_variables_offsets(&c->variables, p->graph);
    kernels_of kernels = {p->units, p->kernels};
    col_memory_rules rules = {&kernels, kernel_in_place};
    COL_TRY(
        col_memory_assign(p->graph, p->units, &rules, offsets, c->plan->state_bytes, c->arena, &p->memory));
    record_time(c, "memory", now() - start);
    return NULL;
}

static bool fits(const compiler *c, const program *p)
{
    double limit = c->options->memory_bytes;
    return !(limit > 0) || (double)(c->plan->state_bytes + p->memory.temporary_bytes) <= limit;
}

/* Overlaps communication with computation as far as the memory allows: with what the pass likes to have, with
 * none, or not at all. */
static col_status place_program(compiler *c, program *p, bool *out_stopped)
{
    static const char *const overlap[] = {"overlap"};
    col_pass_options options = c->options->passes;
    options.machine = &c->options->machine;
    if (!p->graph->mesh.rank || !col_overlaps(&options)) {
        *out_stopped = c->options->stop_after && !strcmp(c->options->stop_after, overlap[0]);
        return place(c, p);
    }
    col_graph *scheduled = p->graph;
    for (int tries = 0; tries < 2; tries++) {
        c->program_name = p->name;
        p->graph = col_graph_clone(scheduled, c->arena);
        COL_TRY(run_passes(c, p->graph, overlap, 1, &options, out_stopped));
        if (*out_stopped) return NULL;
        COL_TRY(place(c, p));
        if (fits(c, p)) return NULL;
        options.overlap = COL_OVERLAP_AUTO;
        options.overlap_memory = 0;
        if (!col_overlaps(&options)) break;
    }
    p->graph = scheduled;
    return place(c, p);
}

/* The part of a step that runs for every micro-batch but the last, whose gradients the whole step adds. */
static col_plan_program *micro_of(compiler *c, const col_plan_program *step)
{
    col_plan_program *micro = col_arena_copy(c->arena, step, sizeof *step);
    micro->name = "micro";
    micro->n_instructions = 0;
    while (micro->n_instructions < step->n_instructions &&
           step->instructions[micro->n_instructions]->phase < COL_PHASE_UPDATE) {
        micro->n_instructions++;
    }
    micro->n_outputs = 0;
    micro->outputs = COL_NEW_ARRAY(c->arena, col_plan_output *, step->n_outputs);
    for (size_t i = 0; i < step->n_outputs; i++) {
        if (!strcmp(step->outputs[i]->name, "loss")) micro->outputs[micro->n_outputs++] = step->outputs[i];
    }
    return micro;
}

static void emit_programs(compiler *c)
{
    COL_VEC(col_plan_program *) list = {0};
    COL_VEC(Col__Plan__MemoryReport *) reports = {0};
    for (size_t i = 0; i < c->program_count; i++) {
        program *p = &c->programs[i];
        uint32_t *starts = COL_NEW_ARRAY(c->arena, uint32_t, p->units->count + 1);
        col_plan_program *emitted = col_emit_program(&c->emitter, p->name, p->graph, p->units, p->kernels,
                                                     p->memory.placements, starts);
        Col__Plan__MemoryReport *report = col_describe_memory(p->name, p->graph, p->units, &p->memory, starts,
                                                              c->plan->state_bytes, c->arena);
        col_vec_push(c->arena, &reports, report);
        col_vec_push(c->arena, &list, emitted);
        bool accumulates = c->options->use == COL_USE_TRAIN && c->options->passes.accumulate > 1;
        if (accumulates && !strcmp(p->name, "step")) {
            col_plan_program *micro = micro_of(c, emitted);
            col_vec_push(c->arena, &list, micro);
        }
        c->plan->arena_bytes =
            COL_MAX(c->plan->arena_bytes, c->plan->state_bytes + p->memory.temporary_bytes);
    }
    c->plan->n_programs = list.len;
    c->plan->programs = list.data;
    c->plan->n_memory = reports.len;
    c->plan->memory = reports.data;
}

static col_status dump_kernels(compiler *c)
{
    col_str text = {0};
    for (size_t i = 0; i < c->emitter.kernels.len; i++) {
        col_str_printf(&text, "k%zu: ", i);
        col_kernel_print(c->emitter.kernels.data[i], &text);
    }
    const char *path = col_arena_printf(c->arena, "%s/kernels.txt", c->options->dump_dir);
    col_status status = col_file_write(path, col_str_text(&text), text.len);
    col_str_fini(&text);
    return status;
}

static col_status generate_ptx(compiler *c, const char *dump_ir)
{
    col_ptx_options options = {.processor = c->options->gpu_processor, .dump_ir = dump_ir};
    COL_TRY(col_emit_ptx(&c->emitter, &options, c->plan));
    if (!dump_ir || !c->plan->n_objects) return NULL;
    const char *path = col_arena_printf(c->arena, "%s/kernels.ptx", c->options->dump_dir);
    return col_file_write(path, c->plan->objects[0]->image.data, c->plan->objects[0]->image.len);
}

static col_status generate_code(compiler *c)
{
    double start = now();
    c->program_name = "";
    const char *dump_ir = NULL;
    if (c->options->dump_dir) {
        dump_ir = col_arena_printf(c->arena, "%s/kernels.ll", c->options->dump_dir);
        COL_TRY(dump_kernels(c));
    }
    col_x86_options options = {
        .features = c->options->cpu_features, .threads = c->options->threads, .dump_ir = dump_ir};
    COL_TRY(c->options->is_cuda ? generate_ptx(c, dump_ir) : col_emit_code(&c->emitter, &options, c->plan));
    record_time(c, "codegen", now() - start);
    return NULL;
}

static void print_times(const compiler *c)
{
    for (size_t i = 0; i < c->times.len; i++) {
        fprintf(stderr, "%-24s %8.1f ms\n", c->times.data[i]->name, 1e3 * c->times.data[i]->seconds);
    }
    fprintf(stderr, "%-24s %8.1f ms\n", "total", 1e3 * c->plan->compile_seconds);
}

static col_status (*const make[])(compiler *, bool *) = {make_training, make_forward, make_generation};

col_status col_compile_graphs(const col_compile_options *options, col_arena *arena, col_compile_graph *out,
                              size_t *out_count)
{
    bool stopped = false;
    compiler c = {.options = options, .arena = arena, .program_name = "", .graphs_only = true};
    col_variables_init(&c.variables, arena);
    c.settled = col_map_create(arena);
    COL_TRY(read_source(options, arena, &c.source));
    COL_TRY(make[options->use](&c, &stopped));
    for (size_t i = 0; i < c.program_count; i++) {
        out[i] = (col_compile_graph){c.programs[i].name, c.programs[i].graph};
    }
    *out_count = c.program_count;
    return NULL;
}

static void start_plan(compiler *c)
{
    col_arena *arena = c->arena;
    *c = (compiler){.options = c->options,
                    .arena = arena,
                    .emitter = {.arena = arena, .is_gpu = c->options->is_cuda},
                    .source = c->source,
                    .sharding_bytes = c->sharding_bytes,
                    .sharding_threads = c->sharding_threads,
                    .settled = col_map_create(arena),
                    .program_name = ""};
    col_variables_init(&c->variables, arena);
    c->plan = COL_NEW(arena, col_plan);
    col__plan__plan__init(c->plan);
}

/* All but the code: the plan then has its memory. */
static col_status lay_out(compiler *c, bool *out_stopped)
{
    start_plan(c);
    COL_TRY(make[c->options->use](c, out_stopped));
    if (*out_stopped) return NULL;
    for (size_t i = 0; i < c->program_count; i++)
        COL_TRY(col_variables_add(&c->variables, c->programs[i].graph));
    c->plan->n_variables = c->variables.list.len;
    c->plan->variables = c->variables.list.data;
    c->plan->state_bytes = c->variables.bytes;
    for (size_t i = 0; i < c->program_count && !*out_stopped; i++)
        COL_TRY(place_program(c, &c->programs[i], out_stopped));
    if (*out_stopped) return NULL;
    emit_programs(c);
    return NULL;
}

/* Whether the sharding solver proved that the last program does not fit, and knows what does; then how much.
 */
static bool is_too_large(const compiler *c, const col_status status, int64_t *out_bytes)
{
    if (!status || col_error_code(status) != COL_INFEASIBLE || !c->program_count) return false;
    const col_shard_report *report = &c->programs[c->program_count - 1].shard;
    *out_bytes = report->peak;
    return report->status == COL_SOLVE_INFEASIBLE && report->peak > c->sharding_bytes;
}

/* The least memory in which the sharding solver knows a plan. */
static col_status find_least(compiler *c, bool *out_stopped, int64_t *out_bytes)
{
    col_status status = NULL;
    *out_bytes = 1;
    for (size_t i = 0; i <= COL_COMPILE_PROGRAMS;
         i++) { /* a later program may need more than one before it */
        c->sharding_bytes = *out_bytes;
        status = lay_out(c, out_stopped);
        if (!is_too_large(c, status, out_bytes)) break;
        col_error_free(status);
        status = NULL;
    }
    return status;
}

/* Gives the solver somewhat more than the least. These steps depend neither on --memory nor, on
 * one thread, on chance: what one of them takes is enough when it is asked for. `*out_needed` is the least
 * that a plan took, 0 if one fits and is laid out. */
static col_status lay_out_smallest(compiler *c, bool *out_stopped, int64_t *out_needed)
{
    static const double steps[] = {1, 1.02, 1.05, 1.1, 1.2};
    int64_t least, limit = (int64_t)c->options->memory_bytes, needed = INT64_MAX;
    c->sharding_threads = 1;
    COL_TRY(find_least(c, out_stopped, &least));
    for (size_t i = 0; i < COL_COUNT(steps) && !*out_stopped && needed > limit; i++) {
        if (i && c->programs[0].shard.nodes > SWEPT_NODES) break;
        c->sharding_bytes = (int64_t)((double)least * steps[i]);
        if (i) COL_TRY(lay_out(c, out_stopped));
        needed = COL_MIN(needed, (int64_t)c->plan->arena_bytes);
    }
    *out_needed = *out_stopped || needed <= limit ? 0 : needed;
    return NULL;
}

/* Gives the solver what there is, and then less by what its plan took too much. */
static col_status lay_out_less_and_less(compiler *c, bool *out_stopped, int64_t *out_needed)
{
    int64_t limit = (int64_t)c->options->memory_bytes, ignored;
    c->sharding_bytes = limit;
    for (int i = 0; i < MEMORY_TRIES && c->sharding_bytes > 0; i++) {
        col_status status = lay_out(c, out_stopped);
        if (is_too_large(c, status, &ignored)) {
            col_error_free(status);
            break;
        }
        *out_needed = 0;
        if (status || *out_stopped || (int64_t)c->plan->arena_bytes <= limit) return status;
        *out_needed = (int64_t)c->plan->arena_bytes;
        c->sharding_bytes -= *out_needed - limit;
    }
    return lay_out_smallest(c, out_stopped, out_needed);
}

/* Memory is what the plan really takes: more than the solver's model says where buffers do not pack, less
 * where kernels work in place. */
static col_status lay_out_within(compiler *c, bool *out_stopped)
{
    int64_t limit = (int64_t)c->options->memory_bytes, needed = 0;
    char need[COL_HUMAN_SIZE], have[COL_HUMAN_SIZE];
    if (limit && col_mesh_size(&c->options->mesh) > 1) {
        COL_TRY(lay_out_less_and_less(c, out_stopped, &needed));
    } else {
        COL_TRY(lay_out(c, out_stopped));
        if (limit && (int64_t)c->plan->arena_bytes > limit) needed = (int64_t)c->plan->arena_bytes;
    }
    if (!needed) return NULL;
    return col_error_make(COL_INFEASIBLE,
                          "plan %s does not fit --memory %s of a device: it needs --memory %lld (%s) or more",
                          c->options->plan_name, col_format_bytes(have, (double)limit), (long long)needed,
                          col_format_bytes(need, (double)needed));
}

col_status col_compile(const col_compile_options *options, col_arena *arena, col_plan **out_plan)
{
    double start = now();
    bool stopped = false;
    compiler c = {.options = options, .arena = arena};
    *out_plan = NULL;
    COL_TRY(read_source(options, arena, &c.source));
    if (options->dump_dir) COL_TRY(col_make_folder(options->dump_dir));
    COL_TRY(lay_out_within(&c, &stopped));
    if (stopped) return NULL;
    COL_TRY(generate_code(&c));
    col_describe_plan(options, c.source, c.programs[0].graph, arena, c.plan);
    c.plan->n_passes = c.times.len;
    c.plan->passes = c.times.data;
    c.plan->compile_seconds = now() - start;
    if (options->time_passes) print_times(&c);
    *out_plan = c.plan;
    return NULL;
}
