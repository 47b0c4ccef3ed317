#include "frontend/describe.h"

#include "frontend/predict.h"

#ifndef COL_VERSION
#error "COL_VERSION comes from the build"
#endif

/* Units that need no instruction (views, assignments in place) end
 * with the instruction before them. */
Col__Plan__MemoryReport *col_describe_memory(const char *program, const col_graph *graph,
                                             const col_units *units, const col_memory *memory,
                                             const uint32_t *starts, uint64_t state_bytes, col_arena *arena)
{
    Col__Plan__MemoryReport *out = COL_NEW(arena, Col__Plan__MemoryReport);
    col__plan__memory_report__init(out);
    const char **names = col_graph_node_names(graph, arena);
    out->program = (char *)(uintptr_t)program;
    out->state_bytes = state_bytes;
    out->temporary_bytes = memory->temporary_bytes;
    out->live_bound = memory->live_bound;
    out->peak_instruction = starts[memory->peak_unit];
    out->n_buffers = memory->buffer_count;
    out->buffers = COL_NEW_ARRAY(arena, Col__Plan__LiveBuffer *, out->n_buffers);
    for (size_t i = 0; i < out->n_buffers; i++) {
        const col_memory_buffer *b = &memory->buffers[i];
        Col__Plan__LiveBuffer *live = out->buffers[i] = COL_NEW(arena, Col__Plan__LiveBuffer);
        col__plan__live_buffer__init(live);
        live->name = (char *)(uintptr_t)names[b->first_value->producer->id];
        live->offset = b->offset;
        live->bytes = b->bytes;
        live->first = starts[b->first];
        live->last = b->last < units->count ? starts[b->last + 1] : starts[b->last] + 1;
        live->last = COL_MAX(live->last, live->first + 1) - 1;
    }
    return out;
}

/* Products and attention of one micro-batch, forward and backward. */
static double model_flops(const col_plan *plan)
{
    double flops = 0;
    const col_plan_program *program = plan->programs[0];
    for (size_t i = 0; i < program->n_instructions; i++) {
        const col_plan_instruction *in = program->instructions[i];
        bool counted = in->kind_case == COL__PLAN__INSTRUCTION__KIND_MATMUL ||
                       in->kind_case == COL__PLAN__INSTRUCTION__KIND_ATTENTION ||
                       in->kind_case == COL__PLAN__INSTRUCTION__KIND_ATTENTION_CACHED;
        if (counted && !in->turn) flops += in->flops;
    }
    return flops;
}

static Col__Plan__Source *describe_source(const char *path, const col_source *text, const col_graph *graph,
                                          col_arena *arena)
{
    Col__Plan__Source *source = COL_NEW(arena, Col__Plan__Source);
    col__plan__source__init(source);
    source->name = (char *)(uintptr_t)graph->name;
    source->path = col_arena_strdup(arena, path);
    source->text = col_arena_strndup(arena, text->text, text->size);
    source->n_settings = graph->settings.len;
    source->settings = COL_NEW_ARRAY(arena, Col__Plan__Setting *, graph->settings.len);
    for (size_t i = 0; i < graph->settings.len; i++) {
        const col_setting *from = &graph->settings.data[i];
        Col__Plan__Setting *to = source->settings[i] = COL_NEW(arena, Col__Plan__Setting);
        col__plan__setting__init(to);
        to->name = (char *)(uintptr_t)from->name;
        to->value_case =
            from->is_float ? COL__PLAN__SETTING__VALUE_FLOAT_VALUE : COL__PLAN__SETTING__VALUE_INT_VALUE;
        if (from->is_float)
            to->float_value = from->float_value;
        else
            to->int_value = from->int_value;
    }
    return source;
}

Col__Plan__Recompute *col_describe_recompute(const char *kind, const col_recompute_answer *answer,
                                             col_arena *arena)
{
    Col__Plan__Recompute *out = COL_NEW(arena, Col__Plan__Recompute);
    col__plan__recompute__init(out);
    out->kind = (char *)(uintptr_t)kind;
    /* One of the least memory, taken since the finished plan fits, has no bound on its time. */
    bool is_least = answer->status == COL_SOLVE_INFEASIBLE;
    out->status = is_least ? (char *)(uintptr_t) "least memory"
                           : (char *)(uintptr_t)col_solve_status_name(answer->status);
    out->objective = answer->seconds;
    out->bound = is_least ? 0 : answer->bound;
    out->gap = is_least ? 0 : answer->gap;
    out->seconds = answer->solve_seconds;
    out->variables = answer->variables;
    out->rows = answer->rows;
    out->turns = answer->turns;
    out->kept = answer->kept;
    out->again = answer->again;
    out->again_seconds = answer->again_seconds;
    out->peak_bytes = (uint64_t)answer->peak;
    return out;
}

void col_describe_machine(const col_compile_options *options, const col_graph *graph, col_arena *arena,
                          col_plan *plan)
{
    plan->accumulate = options->use == COL_USE_TRAIN ? options->passes.accumulate : 1;
    plan->n_mesh = (size_t)graph->mesh.rank;
    plan->mesh = col_arena_copy(arena, graph->mesh.dims, sizeof *plan->mesh * plan->n_mesh);
    plan->machine = col_arena_strdup(arena, options->machine.name);
    col_predict(&options->machine, plan);
}

static const char *precision_name(col_dtype precision)
{
    return precision == COL_F32 ? "fp32" : precision == COL_BF16 ? "bf16" : "fp16";
}

void col_describe_plan(const col_compile_options *options, const col_source *source, const col_graph *graph,
                       col_arena *arena, col_plan *plan)
{
    plan->version = COL_PLAN_VERSION;
    plan->producer = "colc " COL_VERSION;
    plan->target = options->is_cuda ? "cuda" : "cpu";
    plan->precision = (char *)(uintptr_t)precision_name(options->passes.precision);
    plan->optimizer = (char *)(uintptr_t)(options->use == COL_USE_TRAIN ? options->optimizer_name : "");
    plan->model_flops = model_flops(plan);
    plan->source = describe_source(options->model_path, source, graph, arena);
    col_compile_options_record(options, arena, plan);
}
