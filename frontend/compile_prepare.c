/* From the graphs of a model to what kernels are made of: on a mesh, the program of a rank, split within a limit of memory
 * as the sharding solver counts it. */
#include <string.h>

#include "frontend/compiler.h"
#include "frontend/describe.h"
#include "passes/shard.h"

static const double SOLVER_GAP = 0.01;  /* at which it may stop */
static const double SOLVER_STALL = 0.5; /* of the work so far without progress, when it gives up */

/* Splits the program over the mesh. What it chooses for variables holds for the programs after it. */
static col_status split_program(col_compiler *c, col_program *p, col_map *settled, bool *out_stopped)
{
    double start = col_solve_clock();
    const col_compile_options *o = c->options;
    bool is_first = p == c->programs;
    col_shard_options shard = {.mesh = o->mesh,
                               .machine = &o->machine,
                               .memory = c->sharding_bytes,
                               .threads = c->sharding_threads,
                               .accumulate = p->options.accumulate,
                               .gap = SOLVER_GAP,
                               .stall = SOLVER_STALL,
                               .seconds = o->solve_seconds,
                               .settled = settled,
                               .plan = is_first ? c->plan_kind : COL_PLAN_AUTO,
                               .compare = is_first,
                               .beside = is_first ? c->beside : NULL};
    col_sharding sharding = {0};
    bool known = is_first && c->rows && col_shard_take(c->rows, c->row, c->arena, &sharding, &p->shard);
    if (!known) COL_TRY(col_shard(p->whole, &shard, c->arena, &sharding, &p->shard));
    col_compiler_record_time(c, "shard", col_solve_clock() - start);
    start = col_solve_clock();
    bool logs = is_first && !c->is_rough;
    col_shard_log log;
    if (logs) col_shard_log_init(&log, p->whole, &sharding, c->arena);
    p->graph = col_partition(p->whole, &sharding, c->arena, logs ? &log : NULL);
    if (logs)
        c->plan->sharding = col_describe_sharding(p->name, c->beside ? COL_PLAN_AUTO : c->plan_kind, &log,
                                                  &p->shard, c->arena);
    col_compiler_record_time(c, "partition", col_solve_clock() - start);
    for (size_t i = 0; i < p->graph->vars.len; i++) {
        const col_var *var = p->graph->vars.data[i];
        col_map_set(settled, var->name, col_arena_copy(c->arena, &var->layout, sizeof var->layout));
    }
    *out_stopped = col_compiler_stops_after(c, "partition");
    return col_compiler_dump_graph(c, "partition", p->graph);
}

void col_compiler_name_inputs(col_program *p, col_arena *arena)
{
    for (size_t i = 0; i < p->graph->vars.len; i++) {
        col_var *var = p->graph->vars.data[i];
        if (var->kind != COL_VAR_INPUT || !strcmp(var->name, "position") ||
            !strcmp(var->name, COL_MESH_COORDINATE))
            continue;
        var->name = col_arena_printf(arena, "%s.%s", p->name, var->name);
    }
}

/* From primitives to what kernels can be made of. What is computed again is decided after it. */
static col_status legalize_program(col_compiler *c, col_program *p, bool *out_stopped)
{
    static const char *const passes[] = {"lower", "fold",   "cse",      "dce", "chunk",
                                         "fold",  "bucket", "legalize", "cse", "dce"};
    COL_TRY(col_compiler_run_passes(c, p->graph, passes, COL_COUNT(passes), &p->options, out_stopped));
    if (c->options->use == COL_USE_GENERATE) col_compiler_name_inputs(p, c->arena);
    p->legal = p->graph;
    return NULL;
}

static void start_plan(col_compiler *c)
{
    c->plan = COL_NEW(c->arena, col_plan);
    col__plan__plan__init(c->plan);
    col_variables_init_again(&c->variables, &c->noted, c->arena);
    c->times = c->read_times;
    c->times.cap = c->times.len; /* grows in the arena of now */
    for (size_t i = 0; i < c->program_count; i++) c->programs[i].again = NULL;
}

col_status col_compiler_prepare(col_compiler *c, bool *out_stopped)
{
    bool splits = col_mesh_size(&c->options->mesh) > 1;
    start_plan(c);
    col_map *settled = col_map_create(c->arena);
    for (c->split_count = 0; c->split_count < c->program_count && !*out_stopped;) {
        col_program *p = &c->programs[c->split_count++];
        c->program_name = p->name;
        if (splits) COL_TRY(split_program(c, p, settled, out_stopped));
        if (!*out_stopped) COL_TRY(legalize_program(c, p, out_stopped));
    }
    if (*out_stopped) return NULL;
    for (size_t i = 0; i < c->program_count; i++)
        COL_TRY(col_variables_add(&c->variables, c->programs[i].graph));
    c->plan->n_variables = c->variables.list.len;
    c->plan->variables = c->variables.list.data;
    c->plan->state_bytes = c->variables.bytes;
    c->prepared_times = c->times;
    return NULL;
}
