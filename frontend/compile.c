#include "frontend/compile.h"

#include <stdio.h>
#include <string.h>

#include "frontend/compiler.h"
#include "frontend/describe.h"
#include "ir/base/file.h"

enum { PREFILL_TOKENS = 64 }; /* of the prompt that one run of "prefill" takes */

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

void col_compiler_record_time(col_compiler *c, const char *name, double seconds)
{
    const char *full = *c->program_name ? col_arena_printf(c->arena, "%s.%s", c->program_name, name) : name;
    Col__Plan__PassTime *time = COL_NEW(c->arena, Col__Plan__PassTime);
    col__plan__pass_time__init(time);
    time->name = (char *)(uintptr_t)full;
    time->seconds = seconds;
    col_vec_push(c->arena, &c->times, time);
}

col_status col_compiler_dump_graph(col_compiler *c, const char *pass, const col_graph *graph)
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
    col_compiler_record_time(c, pass->name, seconds);
    return col_compiler_dump_graph(c, pass->name, graph);
}

bool col_compiler_stops_after(const col_compiler *c, const char *pass)
{
    return !c->is_searching && c->options->stop_after && !strcmp(c->options->stop_after, pass);
}

col_status col_compiler_run_passes(col_compiler *c, col_graph *graph, const char *const *names, size_t count,
                                   const col_pass_options *options, bool *out_stopped)
{
    const col_pass *passes[16];
    size_t n = 0;
    COL_ASSERT(count <= COL_COUNT(passes));
    for (size_t i = 0; i < count && !*out_stopped; i++) {
        passes[n] = col_pass_find(names[i]);
        COL_ASSERT(passes[n]);
        bool narrow = passes[n]->run == col_pass_precision || passes[n]->run == col_pass_space_to_depth;
        if ((narrow && options->precision == COL_F32) ||
            (passes[n]->run == col_pass_epilogue && !c->options->is_cuda) ||
            (passes[n]->run == col_pass_scale_loss && options->precision != COL_F16))
            continue; /* has nothing to do */
        *out_stopped = col_compiler_stops_after(c, passes[n]->name);
        n++;
    }
    col_pass_hooks hooks = {c, after_pass};
    return col_passes_run(graph, passes, n, options, &hooks);
}

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

static col_status run_own(col_compiler *c, col_program *p, const char *const *names, size_t count,
                          bool *out_stopped)
{
    if (*out_stopped) return NULL;
    return col_compiler_run_passes(c, p->graph, names, count, &p->options, out_stopped);
}

/* Makes the graph of one program: parse, then the passes that are the program's own, and on a mesh those that lead to
 * units of work. */
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
    col_compiler_record_time(c, "parse", col_solve_clock() - start);
    col_variables_note(&c->noted, p->graph);
    COL_TRY(col_compiler_dump_graph(c, "parse", p->graph));
    *out_stopped = col_compiler_stops_after(c, "parse");
    if (keep) keep_outputs(p->graph, keep);
    if (c->options->use == COL_USE_FORWARD && c->options->fed_count) keep_fed_outputs(c, p->graph);
    p->options = c->options->passes;
    p->options.machine = &c->options->machine;
    if (c->options->use != COL_USE_TRAIN) p->options.loss_chunks = 1;
    for (size_t i = 0; i < p->graph->settings.len; i++) {
        if (!strcmp(p->graph->settings.data[i].name, "context"))
            p->options.cache_length = p->graph->settings.data[i].int_value;
    }
    static const char *const unmerge[] = {"unmerge"};
    static const char *const units[] = {"lower", "fold", "cse", "dce", "fuse", "schedule"};
    bool splits = col_mesh_size(&c->options->mesh) > 1 && !c->graphs_only;
    if (splits) COL_TRY(run_own(c, p, unmerge, COL_COUNT(unmerge), out_stopped));
    COL_TRY(run_own(c, p, own_passes, own_count, out_stopped));
    if (splits) COL_TRY(run_own(c, p, units, COL_COUNT(units), out_stopped));
    p->whole = p->graph;
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
    static const char *const train[] = {"precision",  "space_to_depth", "autodiff",
                                        "scale_loss", "vanish",         "optimizer"};
    static const char *const eval[] = {"inference", "precision", "space_to_depth", "dce"};
    COL_TRY(make_program(c, "step", 0, 0, is_scalar, train, COL_COUNT(train), stopped));
    if (*stopped) return NULL;
    return make_program(c, "eval", 0, 0, is_scalar, eval, COL_COUNT(eval), stopped);
}

static col_status make_forward(col_compiler *c, bool *stopped)
{
    static const char *const forward[] = {"inference", "precision", "space_to_depth", "dce"};
    return make_program(c, "forward", 0, 0, NULL, forward, COL_COUNT(forward), stopped);
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
    if (*stopped) return NULL;
    int64_t chunk = COL_MIN(context, (int64_t)PREFILL_TOKENS);
    return make_program(c, "prefill", 1, chunk, is_nothing, cached, COL_COUNT(cached), stopped);
}

static void print_times(const col_compiler *c)
{
    for (size_t i = 0; i < c->times.len; i++) {
        fprintf(stderr, "%-24s %8.1f ms\n", c->times.data[i]->name, 1e3 * c->times.data[i]->seconds);
    }
    fprintf(stderr, "%-24s %8.1f ms\n", "total", 1e3 * c->plan->compile_seconds);
}

static col_status (*const make[])(col_compiler *, bool *) = {make_training, make_forward, make_generation};

static col_status read_programs(col_compiler *c, bool *out_stopped)
{
    c->program_name = "";
    col_variables_init(&c->noted, c->arena);
    COL_TRY(read_source(c->options, c->arena, &c->source));
    COL_TRY(make[c->options->use](c, out_stopped));
    c->read_times = c->times;
    return NULL;
}

col_status col_compile_graphs(const col_compile_options *options, col_arena *arena, col_compile_graph *out,
                              size_t *out_count)
{
    bool stopped = false;
    col_compiler c = {.options = options, .arena = arena, .graphs_only = true};
    COL_TRY(read_programs(&c, &stopped));
    for (size_t i = 0; i < c.program_count; i++) {
        if (options->use == COL_USE_GENERATE) col_compiler_name_inputs(&c.programs[i], arena);
        out[i] = (col_compile_graph){c.programs[i].name, c.programs[i].graph};
    }
    *out_count = c.program_count;
    return NULL;
}

col_status col_compile(const col_compile_options *options, col_arena *arena, col_plan **out_plan)
{
    double start = col_solve_clock();
    bool stopped = false;
    col_compiler c = {.options = options, .arena = arena};
    *out_plan = NULL;
    if (options->dump_dir) COL_TRY(col_make_folder(options->dump_dir));
    COL_TRY(read_programs(&c, &stopped));
    if (!stopped) COL_TRY(col_fit(&c, &stopped));
    if (stopped) return NULL;
    COL_TRY(col_compiler_generate(&c));
    col_describe_plan(options, c.source, c.programs[0].graph, arena, c.plan);
    c.plan->n_passes = c.times.len;
    c.plan->passes = c.times.data;
    c.plan->compile_seconds = col_solve_clock() - start;
    if (options->time_passes) print_times(&c);
    *out_plan = c.plan;
    return NULL;
}
