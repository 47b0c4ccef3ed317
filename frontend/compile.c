#include "frontend/compile.h"

#include <stdio.h>
#include <string.h>

#include "frontend/compiler.h"
#include "frontend/describe.h"
#include "ir/base/file.h"
#include "passes/shard.h"

enum { PREFILL_TOKENS = 64 };           /* of the prompt that one run of "prefill" takes */
static const double SOLVER_GAP = 0.01;  /* at which it may stop */
static const double SOLVER_STALL = 0.5; /* of the work so far without progress, when it gives up */

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

static void record_time(col_compiler *c, const char *name, double seconds)
{
    const char *full = *c->program_name ? col_arena_printf(c->arena, "%s.%s", c->program_name, name) : name;
    Col__Plan__PassTime *time = COL_NEW(c->arena, Col__Plan__PassTime);
    col__plan__pass_time__init(time);
    time->name = (char *)(uintptr_t)full;
    time->seconds = seconds;
    col_vec_push(c->arena, &c->times, time);
}

static col_status dump_graph(col_compiler *c, const char *pass, const col_graph *graph)
{
    const col_compile_options *o = c->options;
    bool print = o->print_after && (!strcmp(o->print_after, pass) || !strcmp(o->print_after, "all"));
    if (c->is_searching || (!print && !o->dump_dir)) return NULL;
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
    col_compiler *c = context;
    record_time(c, pass->name, seconds);
    return dump_graph(c, pass->name, graph);
}

static bool stops_after(const col_compiler *c, const char *pass)
{
    return !c->is_searching && c->options->stop_after && !strcmp(c->options->stop_after, pass);
}

/* Runs the named passes in order; `*out_stopped` tells that --stop-after's was among them. */
static col_status run_passes(col_compiler *c, col_graph *graph, const char *const *names, size_t count,
                             const col_pass_options *options, bool *out_stopped)
{
    const col_pass *passes[16];
    size_t n = 0;
    COL_ASSERT(count <= COL_COUNT(passes));
    for (size_t i = 0; i < count && !*out_stopped; i++) {
        passes[n] = col_pass_find(names[i]);
        COL_ASSERT(passes[n]);
        if ((passes[n]->run == col_pass_precision && options->precision == COL_F32) ||
            (passes[n]->run == col_pass_scale_loss && options->precision != COL_F16))
            continue; /* has nothing to do */
        *out_stopped = stops_after(c, passes[n]->name);
        n++;
    }
    col_pass_hooks hooks = {c, after_pass};
    return col_passes_run(graph, passes, n, options, &hooks);
}

/* Splits the program over the mesh. What it chooses for variables holds for the programs after it. */
static col_status split_program(col_compiler *c, col_program *p, const col_pass_options *options,
                                bool *out_stopped)
{
    static const char *const names[] = {"lower", "fold", "cse", "dce", "fuse", "schedule"};
    COL_TRY(run_passes(c, p->graph, names, COL_COUNT(names), options, out_stopped));
    if (*out_stopped) return NULL;
    double start = col_solve_clock();
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
                               .plan = c->program_count > 1 ? COL_PLAN_AUTO : c->plan_kind,
                               .compare = c->program_count == 1,
                               .beside = c->program_count == 1 ? c->beside : NULL};
    col_sharding sharding = {0};
    COL_TRY(col_shard(p->graph, &shard, c->arena, &sharding, &p->shard));
    record_time(c, "shard", col_solve_clock() - start);
    start = col_solve_clock();
    bool is_first = c->program_count == 1;
    col_shard_log log;
    col_shard_log_init(&log, p->graph, &sharding, c->arena);
    p->graph = col_partition(p->graph, &sharding, c->arena, is_first ? &log : NULL);
    if (is_first)
        c->plan->sharding = col_describe_sharding(p->name, c->beside ? COL_PLAN_AUTO : c->plan_kind, &log,
                                                  &p->shard, c->arena);
    record_time(c, "partition", col_solve_clock() - start);
    for (size_t i = 0; i < p->graph->vars.len; i++) {
        const col_var *var = p->graph->vars.data[i];
        col_map_set(c->settled, var->name, col_arena_copy(c->arena, &var->layout, sizeof var->layout));
    }
    *out_stopped = stops_after(c, "partition");
    return dump_graph(c, "partition", p->graph);
}

/* From primitives to what kernels can be made of, and to scheduled kernels: the same for every program. What
 * is computed again is decided in between. */
static const char *const legal_passes[] = {"lower", "fold", "cse", "dce", "bucket", "legalize", "cse", "dce"};
static const char *const kernel_passes[] = {"fuse", "schedule"};

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
static void keep_fed_outputs(const col_compiler *c, col_graph *graph)
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
static col_status want_whole(const col_compiler *c, const col_graph *graph)
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
static col_status make_program(col_compiler *c, const char *name, int64_t batch, int64_t seq,
                               bool (*keep)(const col_output *), const char *const *own_passes,
                               size_t own_count, bool *out_stopped)
{
    col_program *p = &c->programs[c->program_count++];
    p->name = name;
    c->program_name = name;
    double start = col_solve_clock();
    col_parse_options parse = c->options->parse;
    if (batch) parse.batch = batch;
    if (seq) parse.seq = seq;
    COL_TRY(col_parse_model(c->source, &parse, c->arena, &p->graph));
    COL_TRY(want_whole(c, p->graph));
    record_time(c, "parse", col_solve_clock() - start);
    col_variables_note(&c->variables, p->graph);
    COL_TRY(dump_graph(c, "parse", p->graph));
    *out_stopped = stops_after(c, "parse");
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
        COL_TRY(run_passes(c, p->graph, legal_passes, COL_COUNT(legal_passes), &options, out_stopped));
    p->legal = p->graph;
    return NULL;
}

static col_status need(const col_graph *graph, const char *what, bool has, const char *use)
{
    if (has) return NULL;
    return col_error_make(COL_BAD_INPUT, "model '%s' has no %s, which %s needs", graph->name, what, use);
}

/* Programs of a use. */

static col_status make_training(col_compiler *c, bool *stopped)
{
    static const char *const train[] = {"precision", "autodiff", "scale_loss", "vanish", "optimizer"};
    static const char *const eval[] = {"inference", "precision", "dce"};
    COL_TRY(make_program(c, "step", 0, 0, is_scalar, train, COL_COUNT(train), stopped));
    if (*stopped) return NULL;
    return make_program(c, "eval", 0, 0, is_scalar, eval, COL_COUNT(eval), stopped);
}

static col_status make_forward(col_compiler *c, bool *stopped)
{
    static const char *const forward[] = {"inference", "precision", "dce"};
    return make_program(c, "forward", 0, 0, NULL, forward, COL_COUNT(forward), stopped);
}

/* Inputs of the two programs have different shapes, so they get the program's name. */
static void name_inputs(col_program *p, col_arena *arena)
{
    for (size_t i = 0; i < p->graph->vars.len; i++) {
        col_var *var = p->graph->vars.data[i];
        if (var->kind != COL_VAR_INPUT || !strcmp(var->name, "position") ||
            !strcmp(var->name, COL_MESH_COORDINATE))
            continue;
        var->name = col_arena_printf(arena, "%s.%s", p->name, var->name);
    }
}

static col_status make_generation(col_compiler *c, bool *stopped)
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

static col_status place(col_compiler *c, col_program *p)
{
    double start = col_solve_clock();
    c->program_name = p->name;
    p->units = col_units_of(p->graph, c->arena);
    p->memory = (col_memory){0};
    col_memory_fix_strides(p->graph, p->units, c->arena, &p->memory);
    p->kernels = col_emit_kernels(&c->emitter, p->units, p->memory.placements);
    record_time(c, "kernels", col_solve_clock() - start);
    start = col_solve_clock();
    const uint64_t *offsets = col_variables_offsets(&c->variables, p->graph);
    kernels_of kernels = {p->units, p->kernels};
    col_memory_rules rules = {&kernels, kernel_in_place};
    COL_TRY(
        col_memory_assign(p->graph, p->units, &rules, offsets, c->plan->state_bytes, c->arena, &p->memory));
    record_time(c, "memory", col_solve_clock() - start);
    return NULL;
}

static bool fits(const col_compiler *c, const col_program *p)
{
    double limit = c->options->memory_bytes;
    return !(limit > 0) || (double)(c->plan->state_bytes + p->memory.temporary_bytes) <= limit;
}

/* Overlaps communication with computation as far as the memory allows: with what the pass likes to have, with
 * none, or not at all. */
static col_status place_program(col_compiler *c, col_program *p, bool *out_stopped)
{
    static const char *const overlap[] = {"overlap"};
    col_pass_options options = c->options->passes;
    options.machine = &c->options->machine;
    if (!p->graph->mesh.rank || !col_overlaps(&options)) {
        *out_stopped = stops_after(c, overlap[0]);
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
static col_plan_program *micro_of(col_compiler *c, const col_plan_program *step)
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

static void emit_programs(col_compiler *c)
{
    COL_VEC(col_plan_program *) list = {0};
    COL_VEC(Col__Plan__MemoryReport *) reports = {0};
    for (size_t i = 0; i < c->program_count; i++) {
        col_program *p = &c->programs[i];
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

static col_status dump_kernels(col_compiler *c)
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

static col_status generate_ptx(col_compiler *c, const char *dump_ir)
{
    col_ptx_options options = {.processor = c->options->gpu_processor, .dump_ir = dump_ir};
    COL_TRY(col_emit_ptx(&c->emitter, &options, c->plan));
    if (!dump_ir || !c->plan->n_objects) return NULL;
    const char *path = col_arena_printf(c->arena, "%s/kernels.ptx", c->options->dump_dir);
    return col_file_write(path, c->plan->objects[0]->image.data, c->plan->objects[0]->image.len);
}

static col_status generate_code(col_compiler *c)
{
    double start = col_solve_clock();
    c->program_name = "";
    const char *dump_ir = NULL;
    if (c->options->dump_dir) {
        dump_ir = col_arena_printf(c->arena, "%s/kernels.ll", c->options->dump_dir);
        COL_TRY(dump_kernels(c));
    }
    col_x86_options options = {
        .features = c->options->cpu_features, .threads = c->options->threads, .dump_ir = dump_ir};
    COL_TRY(c->options->is_cuda ? generate_ptx(c, dump_ir) : col_emit_code(&c->emitter, &options, c->plan));
    record_time(c, "codegen", col_solve_clock() - start);
    return NULL;
}

static void print_times(const col_compiler *c)
{
    for (size_t i = 0; i < c->times.len; i++) {
        fprintf(stderr, "%-24s %8.1f ms\n", c->times.data[i]->name, 1e3 * c->times.data[i]->seconds);
    }
    fprintf(stderr, "%-24s %8.1f ms\n", "total", 1e3 * c->plan->compile_seconds);
}

static col_status (*const make[])(col_compiler *, bool *) = {make_training, make_forward, make_generation};

col_status col_compile_graphs(const col_compile_options *options, col_arena *arena, col_compile_graph *out,
                              size_t *out_count)
{
    bool stopped = false;
    col_compiler c = {.options = options, .arena = arena, .program_name = "", .graphs_only = true};
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

static void start_plan(col_compiler *c)
{
    col_arena *arena = c->arena;
    *c = (col_compiler){.options = c->options,
                        .arena = arena,
                        .source = c->source,
                        .sharding_bytes = c->sharding_bytes,
                        .sharding_threads = c->sharding_threads,
                        .plan_kind = c->plan_kind,
                        .beside = c->beside,
                        .settled = col_map_create(arena),
                        .program_name = ""};
    col_variables_init(&c->variables, arena);
    c->plan = COL_NEW(arena, col_plan);
    col__plan__plan__init(c->plan);
}

col_status col_compiler_prepare(col_compiler *c, bool *out_stopped)
{
    start_plan(c);
    COL_TRY(make[c->options->use](c, out_stopped));
    if (*out_stopped) return NULL;
    for (size_t i = 0; i < c->program_count; i++)
        COL_TRY(col_variables_add(&c->variables, c->programs[i].graph));
    c->plan->n_variables = c->variables.list.len;
    c->plan->variables = c->variables.list.data;
    c->plan->state_bytes = c->variables.bytes;
    c->prepared_times = c->times.len;
    return NULL;
}

/* The program's graph with the copies of what it computes again. `options` are for what follows. */
static col_status rewrite_program(col_compiler *c, col_program *p, col_pass_options *options)
{
    *options = c->options->passes;
    p->graph = col_graph_clone(p->legal, c->arena);
    if (!p->again) return NULL;
    double start = col_solve_clock();
    col_nests *nests = COL_NEW(c->arena, col_nests);
    col_recompute_apply(p->graph, &p->again->plan, nests);
    options->nests = nests;
    /* Forward values that only copies read from now on have no reader any more. */
    COL_TRY(col_pass_dce(p->graph, options));
    record_time(c, "recompute", p->again_seconds + col_solve_clock() - start);
    return dump_graph(c, "recompute", p->graph);
}

col_status col_compiler_finish(col_compiler *c, bool *out_stopped)
{
    c->times.len = c->prepared_times;
    c->emitter = (col_emitter){.arena = c->arena, .is_gpu = c->options->is_cuda};
    c->plan->arena_bytes = 0;
    for (size_t i = 0; i < c->program_count; i++) {
        col_program *p = &c->programs[i];
        c->program_name = p->name;
        col_pass_options options;
        COL_TRY(rewrite_program(c, p, &options));
        *out_stopped = stops_after(c, "recompute");
        if (!*out_stopped)
            COL_TRY(run_passes(c, p->graph, kernel_passes, COL_COUNT(kernel_passes), &options, out_stopped));
        if (*out_stopped) return NULL;
    }
    for (size_t i = 0; i < c->program_count && !*out_stopped; i++)
        COL_TRY(place_program(c, &c->programs[i], out_stopped));
    if (*out_stopped) return NULL;
    emit_programs(c);
    const col_recompute_answer *again = c->programs[0].again;
    c->plan->recompute = again ? col_describe_recompute(c->options->checkpoint, again, c->arena) : NULL;
    col_describe_machine(c->options, c->programs[0].graph, c->arena, c->plan);
    return NULL;
}

col_status col_compile(const col_compile_options *options, col_arena *arena, col_plan **out_plan)
{
    double start = col_solve_clock();
    bool stopped = false;
    col_compiler c = {.options = options, .arena = arena};
    *out_plan = NULL;
    COL_TRY(read_source(options, arena, &c.source));
    if (options->dump_dir) COL_TRY(col_make_folder(options->dump_dir));
    COL_TRY(col_fit(&c, &stopped));
    if (stopped) return NULL;
    COL_TRY(generate_code(&c));
    col_describe_plan(options, c.source, c.programs[0].graph, arena, c.plan);
    c.plan->n_passes = c.times.len;
    c.plan->passes = c.times.data;
    c.plan->compile_seconds = col_solve_clock() - start;
    if (options->time_passes) print_times(&c);
    *out_plan = c.plan;
    return NULL;
}
