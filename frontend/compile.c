#include "frontend/compile.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "codegen/emit.h"
#include "frontend/predict.h"
#include "ir/base/file.h"
#include "ir/view.h"
#include "passes/memory.h"

enum {
    PREFILL_TOKENS = 64, /* of the prompt that one run of "prefill" takes */
    STATE_ALIGNMENT = 64,
};

#ifndef COL_VERSION
#error "COL_VERSION comes from the build"
#endif

/* One program on its way. */
typedef struct program {
    const char *name;
    col_graph *graph;
    col_units *units;
    const col_kernel **kernels;
    col_memory memory;
} program;

typedef struct compiler {
    const col_compile_options *options;
    col_arena *arena;
    col_plan *plan;
    col_emitter emitter;
    bool graphs_only; /* stop before lowering */
    program programs[COL_COMPILE_PROGRAMS];
    size_t program_count;
    const col_source *source;
    /* The plan's variables: those of all programs, by name. */
    col_map *variables;
    col_map *buffers; /* states that the model itself declares, by name */
    col_map *labels;  /* label_range of the inputs that are labels, by name; from before lowering */
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
        COL_ASSERT(passes[n]);
        *out_stopped = c->options->stop_after && !strcmp(c->options->stop_after, passes[n]->name);
        n++;
    }
    col_pass_hooks hooks = {c, after_pass};
    return col_passes_run(graph, passes, n, options, &hooks);
}

/* From primitives to scheduled kernels: the same for every program. */
static const char *const backend_passes[] = {"lower", "fold", "cse",  "dce",     "legalize",
                                             "cse",   "dce",  "fuse", "schedule"};

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

/* What a loss takes of an input that holds its labels. */
typedef struct label_range {
    int64_t classes, ignored;
} label_range;

/* Notes which inputs are labels while the losses are still whole. Labels of several losses are those that all
 * of them take; where they ignore different ones nothing is known. */
static void note_labels(compiler *c, const col_graph *graph)
{
    COL_FOR_EACH_NODE (node, graph) {
        if (node->op != COL_OP_CROSS_ENTROPY) continue;
        const col_var *var = col_node_operand(node, 1)->var;
        if (!var || var->kind != COL_VAR_INPUT) continue;
        col_shape logits = col_node_operand(node, 0)->type.shape;
        label_range range = {logits.dims[logits.rank - 1], col_node_int(node, COL_ATTR_IGNORE_INDEX)};
        label_range *known = col_map_get(c->labels, var->name);
        if (!known) {
            col_map_set(c->labels, var->name, col_arena_copy(c->arena, &range, sizeof range));
        } else if (known->ignored == range.ignored) {
            known->classes = COL_MIN(known->classes, range.classes);
        } else {
            known->classes = 0;
        }
    }
}

/* Notes the states that are the model's own while those of passes are not yet there. */
static void note_buffers(compiler *c, const col_graph *graph)
{
    for (size_t i = 0; i < graph->vars.len; i++) {
        const col_var *var = graph->vars.data[i];
        if (var->kind == COL_VAR_STATE) col_map_set(c->buffers, var->name, c);
    }
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
    record_time(c, "parse", now() - start);
    note_labels(c, p->graph);
    note_buffers(c, p->graph);
    COL_TRY(dump_graph(c, "parse", p->graph));
    *out_stopped = c->options->stop_after && !strcmp(c->options->stop_after, "parse");
    if (keep) keep_outputs(p->graph, keep);
    if (c->options->use == COL_USE_FORWARD && c->options->fed_count) keep_fed_outputs(c, p->graph);
    col_pass_options options = c->options->passes;
    for (size_t i = 0; i < p->graph->settings.len; i++) {
        if (!strcmp(p->graph->settings.data[i].name, "context"))
            options.cache_length = p->graph->settings.data[i].int_value;
    }
    if (!*out_stopped) COL_TRY(run_passes(c, p->graph, own_passes, own_count, &options, out_stopped));
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
    static const char *const train[] = {"autodiff", "optimizer"}, *const eval[] = {"inference", "dce"};
    COL_TRY(make_program(c, "step", 0, 0, is_scalar, train, COL_COUNT(train), stopped));
    if (*stopped) return NULL;
    return make_program(c, "eval", 0, 0, is_scalar, eval, COL_COUNT(eval), stopped);
}

static col_status make_forward(compiler *c, bool *stopped)
{
    static const char *const forward[] = {"inference", "dce"};
    return make_program(c, "forward", 0, 0, NULL, forward, COL_COUNT(forward), stopped);
}

/* Inputs of the two programs have different shapes, so they get the program's name. */
static void name_inputs(program *p, col_arena *arena)
{
    for (size_t i = 0; i < p->graph->vars.len; i++) {
        col_var *var = p->graph->vars.data[i];
        if (var->kind != COL_VAR_INPUT || !strcmp(var->name, "position")) continue;
        var->name = col_arena_printf(arena, "%s.%s", p->name, var->name);
    }
}

static col_status make_generation(compiler *c, bool *stopped)
{
    static const char *const cached[] = {"inference", "kv_cache", "dce"};
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

/* Variables. */

/* Rows of the smallest table that the input's elements index, or 0. */
static int64_t index_bound(const col_var *var)
{
    int64_t bound = 0;
    COL_FOR_EACH_USE (use, var->value) {
        bool is_index =
            use->index == 1 && (use->user->op == COL_OP_EMBEDDING || use->user->op == COL_OP_SCATTER_ADD);
        if (!is_index) continue;
        int64_t rows = col_node_operand(use->user, 0)->type.shape.dims[0];
        bound = bound ? COL_MIN(bound, rows) : rows;
    }
    return bound;
}

static bool is_used(const col_graph *graph, const col_var *var)
{
    if (var->kind != COL_VAR_INPUT || col_value_has_uses(var->value)) return true;
    return col_value_is_output(graph, var->value);
}

static Col__Plan__Variable *make_variable(compiler *c, const col_var *var)
{
    static const Col__Plan__VariableKind kinds[] = {
        COL__PLAN__VARIABLE_KIND__INPUT, COL__PLAN__VARIABLE_KIND__PARAM, COL__PLAN__VARIABLE_KIND__STATE};
    static const Col__Plan__InitKind inits[] = {COL__PLAN__INIT_KIND__ZEROS, COL__PLAN__INIT_KIND__CONSTANT,
                                                COL__PLAN__INIT_KIND__NORMAL, COL__PLAN__INIT_KIND__UNIFORM};
    Col__Plan__Variable *v = COL_NEW(c->arena, Col__Plan__Variable);
    col__plan__variable__init(v);
    v->name = (char *)(uintptr_t)var->name;
    v->kind = kinds[var->kind];
    v->dtype = col_emit_dtype(var->type.dtype);
    v->n_dims = (size_t)var->type.shape.rank;
    v->dims = col_arena_copy(c->arena, var->type.shape.dims, sizeof *v->dims * v->n_dims);
    v->init = inits[var->init.kind];
    v->init_a = var->init.a;
    v->init_b = var->init.b;
    v->frozen = var->frozen;
    v->buffer = col_map_get(c->buffers, var->name) != NULL;
    return v;
}

/* Lays out the variables of all programs at the start of the arena: small ones first keep scalars together.
 */
static col_status place_variables(compiler *c)
{
    COL_VEC(Col__Plan__Variable *) list = {0};
    c->variables = col_map_create(c->arena);
    uint64_t at = 0;
    for (size_t i = 0; i < c->program_count; i++) {
        const col_graph *graph = c->programs[i].graph;
        for (size_t j = 0; j < graph->vars.len; j++) {
            const col_var *var = graph->vars.data[j];
            if (!is_used(graph, var)) continue;
            Col__Plan__Variable *v = col_map_get(c->variables, var->name);
            if (!v) {
                v = make_variable(c, var);
                v->offset = at;
                if (__builtin_add_overflow(at, col_plan_variable_bytes(v) + STATE_ALIGNMENT - 1, &at) ||
                    at > INT64_MAX) {
                    return col_error_make(COL_BAD_INPUT, "the model's variables do not fit 63-bit addresses");
                }
                at = at / STATE_ALIGNMENT * STATE_ALIGNMENT;
                col_map_set(c->variables, var->name, v);
                col_vec_push(c->arena, &list, v);
            }
            int64_t bound = index_bound(var);
            const label_range *labels = col_map_get(c->labels, var->name);
            if (bound) {
                v->index_bound = v->index_bound ? COL_MIN(v->index_bound, bound) : bound;
                v->may_ignore = false;
            } else if (labels && labels->classes && !v->index_bound) {
                v->index_bound = labels->classes;
                v->may_ignore = true;
                v->ignored_index = labels->ignored;
            }
        }
    }
    c->plan->n_variables = list.len;
    c->plan->variables = list.data;
    c->plan->state_bytes = at;
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

/* `starts` counts the instructions before each unit: units that need none (views, assignments in place) end
 * with the instruction before them. */
static void report_memory(compiler *c, program *p, const uint32_t *starts, Col__Plan__MemoryReport *out)
{
    col__plan__memory_report__init(out);
    const char **names = col_graph_node_names(p->graph, c->arena);
    out->program = (char *)(uintptr_t)p->name;
    out->state_bytes = c->plan->state_bytes;
    out->temporary_bytes = p->memory.temporary_bytes;
    out->live_bound = p->memory.live_bound;
    out->peak_instruction = starts[p->memory.peak_unit];
    out->n_buffers = p->memory.buffer_count;
    out->buffers = COL_NEW_ARRAY(c->arena, Col__Plan__LiveBuffer *, out->n_buffers);
    for (size_t i = 0; i < out->n_buffers; i++) {
        const col_memory_buffer *b = &p->memory.buffers[i];
        Col__Plan__LiveBuffer *live = out->buffers[i] = COL_NEW(c->arena, Col__Plan__LiveBuffer);
        col__plan__live_buffer__init(live);
        live->name = (char *)(uintptr_t)names[b->first_value->producer->id];
        live->offset = b->offset;
        live->bytes = b->bytes;
        live->first = starts[b->first];
        live->last = b->last < p->units->count ? starts[b->last + 1] : starts[b->last] + 1;
        live->last = COL_MAX(live->last, live->first + 1) - 1;
    }
}

static col_status place_program(compiler *c, program *p)
{
    double start = now();
    c->program_name = p->name;
    p->units = col_units_of(p->graph, c->arena);
    col_memory_fix_strides(p->graph, p->units, c->arena, &p->memory);
    p->kernels = col_emit_kernels(&c->emitter, p->units, p->memory.placements);
    record_time(c, "kernels", now() - start);
    start = now();
    uint64_t *offsets = COL_NEW_ARRAY(c->arena, uint64_t, p->graph->vars.len);
    for (size_t i = 0; i < p->graph->vars.len; i++) {
        const Col__Plan__Variable *v = col_map_get(c->variables, p->graph->vars.data[i]->name);
        offsets[i] = v ? v->offset : 0;
    }
    kernels_of kernels = {p->units, p->kernels};
    col_memory_rules rules = {&kernels, kernel_in_place};
    COL_TRY(
        col_memory_assign(p->graph, p->units, &rules, offsets, c->plan->state_bytes, c->arena, &p->memory));
    record_time(c, "memory", now() - start);
    return NULL;
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
        Col__Plan__MemoryReport *report = COL_NEW(c->arena, Col__Plan__MemoryReport);
        report_memory(c, p, starts, report);
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

/* Products, convolutions and attention of one micro-batch, forward and backward. */
static double model_flops(const compiler *c)
{
    double flops = 0;
    const col_plan_program *program = c->plan->programs[0];
    for (size_t i = 0; i < program->n_instructions; i++) {
        const col_plan_instruction *in = program->instructions[i];
        bool counted = in->kind_case == COL__PLAN__INSTRUCTION__KIND_MATMUL ||
                       in->kind_case == COL__PLAN__INSTRUCTION__KIND_CONVOLUTION ||
                       in->kind_case == COL__PLAN__INSTRUCTION__KIND_ATTENTION ||
                       in->kind_case == COL__PLAN__INSTRUCTION__KIND_ATTENTION_CACHED;
        if (counted) flops += in->flops;
    }
    return flops;
}

static void describe_source(compiler *c)
{
    const col_graph *graph = c->programs[0].graph;
    Col__Plan__Source *source = c->plan->source = COL_NEW(c->arena, Col__Plan__Source);
    col__plan__source__init(source);
    source->name = (char *)(uintptr_t)graph->name;
    source->path = col_arena_strdup(c->arena, c->options->model_path);
    source->text = col_arena_strndup(c->arena, c->source->text, c->source->size);
    source->n_settings = graph->settings.len;
    source->settings = COL_NEW_ARRAY(c->arena, Col__Plan__Setting *, graph->settings.len);
    for (size_t i = 0; i < graph->settings.len; i++) {
        const col_setting *from = &graph->settings.data[i];
        Col__Plan__Setting *to = source->settings[i] = COL_NEW(c->arena, Col__Plan__Setting);
        col__plan__setting__init(to);
        to->name = (char *)(uintptr_t)from->name;
        to->value_case =
            from->is_float ? COL__PLAN__SETTING__VALUE_FLOAT_VALUE : COL__PLAN__SETTING__VALUE_INT_VALUE;
        if (from->is_float)
            to->float_value = from->float_value;
        else
            to->int_value = from->int_value;
    }
}

static void describe_plan(compiler *c)
{
    col_plan *plan = c->plan;
    plan->version = COL_PLAN_VERSION;
    plan->producer = "colc " COL_VERSION;
    plan->target = "cpu";
    plan->precision = "fp32";
    plan->optimizer = (char *)(uintptr_t)(c->options->use == COL_USE_TRAIN ? c->options->optimizer_name : "");
    plan->accumulate = c->options->use == COL_USE_TRAIN ? c->options->passes.accumulate : 1;
    plan->model_flops = model_flops(c);
    describe_source(c);
    col_compile_options_record(c->options, c->arena, plan);
    plan->machine = col_arena_strdup(c->arena, c->options->machine.name);
    col_predict(&c->options->machine, plan);
}

static col_status generate_code(compiler *c)
{
    double start = now();
    c->program_name = "";
    col_x86_options options = {.features = c->options->cpu_features, .threads = c->options->threads};
    if (c->options->dump_dir) {
        options.dump_ir = col_arena_printf(c->arena, "%s/kernels.ll", c->options->dump_dir);
        col_str text = {0};
        for (size_t i = 0; i < c->emitter.kernels.len; i++) {
            col_str_printf(&text, "k%zu: ", i);
            col_kernel_print(c->emitter.kernels.data[i], &text);
        }
        const char *path = col_arena_printf(c->arena, "%s/kernels.txt", c->options->dump_dir);
        col_status status = col_file_write(path, col_str_text(&text), text.len);
        col_str_fini(&text);
        COL_TRY(status);
    }
    COL_TRY(col_emit_code(&c->emitter, &options, c->plan));
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
    c.labels = col_map_create(arena);
    c.buffers = col_map_create(arena);
    COL_TRY(read_source(options, arena, &c.source));
    COL_TRY(make[options->use](&c, &stopped));
    for (size_t i = 0; i < c.program_count; i++) {
        out[i] = (col_compile_graph){c.programs[i].name, c.programs[i].graph};
    }
    *out_count = c.program_count;
    return NULL;
}

col_status col_compile(const col_compile_options *options, col_arena *arena, col_plan **out_plan)
{
    double start = now();
    bool stopped = false;
    compiler c = {.options = options, .arena = arena, .emitter = {.arena = arena}, .program_name = ""};
    c.labels = col_map_create(arena);
    c.buffers = col_map_create(arena);
    *out_plan = NULL;
    c.plan = COL_NEW(arena, col_plan);
    col__plan__plan__init(c.plan);
    COL_TRY(read_source(options, arena, &c.source));
    if (options->dump_dir) COL_TRY(col_make_folder(options->dump_dir));
    COL_TRY(make[options->use](&c, &stopped));
    if (stopped) return NULL;
    COL_TRY(place_variables(&c));
    for (size_t i = 0; i < c.program_count; i++) COL_TRY(place_program(&c, &c.programs[i]));
    emit_programs(&c);
    COL_TRY(generate_code(&c));
    describe_plan(&c);
    c.plan->n_passes = c.times.len;
    c.plan->passes = c.times.data;
    c.plan->compile_seconds = now() - start;
    if (options->time_passes) print_times(&c);
    *out_plan = c.plan;
    return NULL;
}
