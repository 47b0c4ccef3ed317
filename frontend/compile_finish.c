/* From the legalized graphs of all programs to a plan: what is computed again, scheduled kernels, memory, instructions and
 * code. */
#include "frontend/compiler.h"

#include <string.h>

#include "frontend/describe.h"
#include "ir/base/file.h"

/* Memory. */

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
    col_memory_fix_strides(p->graph, p->units, c->options->passes.channels_last, c->arena, &p->memory);
    p->kernels = col_emit_kernels(&c->emitter, p->units, p->memory.placements);
    col_compiler_record_time(c, "kernels", col_solve_clock() - start);
    start = col_solve_clock();
    const uint64_t *offsets = col_variables_offsets(&c->variables, p->graph);
    kernels_of kernels = {p->units, p->kernels};
    col_memory_rules rules = {&kernels, kernel_in_place, c->is_rough};
    COL_TRY(
        col_memory_assign(p->graph, p->units, &rules, offsets, c->plan->state_bytes, c->arena, &p->memory));
    col_compiler_record_time(c, "memory", col_solve_clock() - start);
    return NULL;
}

static bool fits(const col_compiler *c, const col_program *p)
{
    double limit = c->options->memory_bytes;
    return !(limit > 0) || c->is_rough || (double)(c->plan->state_bytes + p->memory.temporary_bytes) <= limit;
}

/* Overlaps communication with computation as far as the memory allows: with what the pass likes to have, with
 * none, or not at all. */
static col_status place_program(col_compiler *c, col_program *p, bool *out_stopped)
{
    static const char *const overlap[] = {"overlap"};
    col_pass_options options = c->options->passes;
    options.machine = &c->options->machine;
    if (!p->graph->mesh.rank || !col_overlaps(&options)) {
        *out_stopped = col_compiler_stops_after(c, overlap[0]);
        return place(c, p);
    }
    col_graph *scheduled = p->graph;
    for (int tries = 0; tries < 2; tries++) {
        c->program_name = p->name;
        p->graph = col_graph_clone(scheduled, c->arena);
        COL_TRY(col_compiler_run_passes(c, p->graph, overlap, 1, &options, out_stopped));
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

/* Instructions. */

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

static const char *const kernel_passes[] = {"epilogue", "fuse", "schedule"};

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
    col_compiler_record_time(c, "recompute", p->again_seconds + col_solve_clock() - start);
    return col_compiler_dump_graph(c, "recompute", p->graph);
}

col_status col_compiler_finish(col_compiler *c, bool *out_stopped)
{
    c->times = c->prepared_times;
    c->times.cap = c->times.len;
    c->emitter = (col_emitter){.arena = c->arena, .is_gpu = c->options->is_cuda};
    c->plan->arena_bytes = 0;
    for (size_t i = 0; i < c->program_count; i++) {
        col_program *p = &c->programs[i];
        c->program_name = p->name;
        col_pass_options options;
        COL_TRY(rewrite_program(c, p, &options));
        *out_stopped = col_compiler_stops_after(c, "recompute");
        if (!*out_stopped)
            COL_TRY(col_compiler_run_passes(c, p->graph, kernel_passes, COL_COUNT(kernel_passes), &options,
                                            out_stopped));
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

/* Code. */

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

col_status col_compiler_generate(col_compiler *c)
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
    col_compiler_record_time(c, "codegen", col_solve_clock() - start);
    return NULL;
}
