#include "frontend/explain.h"

#include <stdlib.h>
#include <string.h>

#include "frontend/explain_recompute.h"
#include "frontend/predict.h"
#include "frontend/report.h"
#include "ir/plan/plan_clocks.h"

enum { NAME_WIDTH = 38, NOTATION_WIDTH = 52 };

static const char *convolution_kind(const Col__Plan__Convolution *how)
{
    static const char *const names[] = {"conv", "conv_grad_input", "conv_grad_weight"};
    return (size_t)how->kind < COL_COUNT(names) ? names[how->kind] : "unknown";
}

static const char *pool_kind(const Col__Plan__Pool *how)
{
    bool is_max = how->kind == COL__PLAN__POOL_KIND__POOL_MAX;
    if (how->backward) return is_max ? "max_pool_grad" : "avg_pool_grad";
    return is_max ? "max_pool" : "avg_pool";
}

const char *col_explain_kind(const col_plan_instruction *in)
{
    switch (in->kind_case) {
    case COL__PLAN__INSTRUCTION__KIND_KERNEL: return "kernel";
    case COL__PLAN__INSTRUCTION__KIND_MATMUL: return "matmul";
    case COL__PLAN__INSTRUCTION__KIND_ATTENTION:
        return in->attention->backward ? "attention_grad" : "attention";
    case COL__PLAN__INSTRUCTION__KIND_ATTENTION_CACHED: return "attention_cached";
    case COL__PLAN__INSTRUCTION__KIND_SCATTER_ADD: return "scatter_add";
    case COL__PLAN__INSTRUCTION__KIND_UPDATE_SLICE: return "update_slice";
    case COL__PLAN__INSTRUCTION__KIND_CONVOLUTION: return convolution_kind(in->convolution);
    case COL__PLAN__INSTRUCTION__KIND_POOL: return pool_kind(in->pool);
    case COL__PLAN__INSTRUCTION__KIND_COPY: return "copy";
    case COL__PLAN__INSTRUCTION__KIND_FILL: return "fill";
    case COL__PLAN__INSTRUCTION__KIND_SHARD: return "shard";
    case COL__PLAN__INSTRUCTION__KIND_WAIT: return "wait";
    case COL__PLAN__INSTRUCTION__KIND_COLLECTIVE: return col_plan_collective_name(in->collective->kind);
    default: return "unknown";
    }
}

/* Notation. */

static void print_view(const col_plan_view *view, col_str *out)
{
    col_str_append(out, "[");
    for (size_t i = 0; i < view->n_dims; i++)
        col_str_printf(out, "%s%lld", i ? ", " : "", (long long)view->dims[i]);
    col_str_append(out, "]");
}

/* The first, and how many more. */
static void print_views(col_plan_view *const *views, size_t count, col_str *out)
{
    if (count) print_view(views[0], out);
    if (count > 1) col_str_printf(out, " +%zu", count - 1);
}

/* "[256, 2304] = [256, 768] x [768, 2304]", "[4, 64, 768] +1 = k7([4, 64, 768] +2)". */
void col_explain_notation(const col_plan_instruction *in, col_str *out)
{
    print_views(in->writes, in->n_writes, out);
    bool adds = in->kind_case == COL__PLAN__INSTRUCTION__KIND_MATMUL && in->matmul->accumulate;
    col_str_append(out, adds ? " += " : " = ");
    if (in->kind_case == COL__PLAN__INSTRUCTION__KIND_MATMUL && in->n_reads >= 2) {
        static const char *const epilogues[] = {"", ", bias", ", bias, gelu", ", gelu slope"};
        print_view(in->reads[0], out);
        col_str_append(out, " x ");
        print_view(in->reads[1], out);
        if (in->matmul->epilogue < COL_COUNT(epilogues)) col_str_append(out, epilogues[in->matmul->epilogue]);
        return;
    }
    bool kernel = in->kind_case == COL__PLAN__INSTRUCTION__KIND_KERNEL;
    col_str_printf(out, "%s(", kernel ? in->kernel->symbol : col_explain_kind(in));
    print_views(in->reads, in->n_reads, out);
    col_str_append(out, ")");
}

double col_explain_written_bytes(const col_plan_instruction *in)
{
    double bytes = 0;
    for (size_t i = 0; i < in->n_writes && !col_predict_waits(in); i++) {
        const col_plan_view *v = in->writes[i];
        bytes += (double)col_plan_numel(v->n_dims, v->dims) * (double)col_plan_dtype_size(v->dtype);
    }
    return bytes;
}

static void print_instruction(const col_plan_instruction *in, double exposed, col_str *scratch, col_str *out)
{
    char seconds[COL_HUMAN_SIZE], bytes[COL_HUMAN_SIZE], rest[COL_HUMAN_SIZE];
    bool communicates = col_predict_communicates(in);
    col_str_clear(scratch);
    col_explain_notation(in, scratch);
    col_format_seconds(seconds, in->seconds);
    col_str_printf(out, "%-*s %-*s compute %8s  comm %s", NAME_WIDTH, in->name, NOTATION_WIDTH,
                   col_str_text(scratch), communicates || col_predict_waits(in) ? "0" : seconds,
                   communicates ? seconds : "0");
    if (col_predict_overlaps(in))
        col_str_printf(out, " overlapped, %s exposed", exposed > 0 ? col_format_seconds(rest, exposed) : "0");
    col_str_printf(out, "  mem %9s\n", col_format_bytes(bytes, col_explain_written_bytes(in)));
}

/* Totals. */

typedef struct totals {
    size_t count;
    double seconds, flops, bytes, arithmetic, traffic;
} totals;

static void add_totals(totals *to, const totals *from)
{
    to->count += from->count;
    to->seconds += from->seconds;
    to->flops += from->flops;
    to->bytes += from->bytes;
    to->arithmetic += from->arithmetic;
    to->traffic += from->traffic;
}

static void print_totals(const char *name, const totals *t, double all, bool floors, col_str *out)
{
    char s[COL_HUMAN_SIZE], f[COL_HUMAN_SIZE], b[COL_HUMAN_SIZE], fa[COL_HUMAN_SIZE] = "-",
                                                                  fm[COL_HUMAN_SIZE] = "-";
    if (floors) {
        col_format_seconds(fa, t->arithmetic);
        col_format_seconds(fm, t->traffic);
    }
    col_str_printf(out, "  %-10s %6zu %10s %5.1f %% %9s %10s %10s %10s\n", name, t->count,
                   col_format_seconds(s, t->seconds), all > 0 ? 100 * t->seconds / all : 0,
                   col_format_count(f, t->flops), fa, col_format_bytes(b, t->bytes), fm);
}

/* Time by class, against the machine's floors: what the arithmetic alone and the traffic alone would take. */
static void print_classes(const col_machine *machine, const col_plan_program *program, col_str *out)
{
    totals classes[COL_COST_COUNT] = {0}, all = {0};
    for (size_t i = 0; i < program->n_instructions; i++) {
        const col_plan_instruction *in = program->instructions[i];
        col_cost_class class = col_predict_class(in);
        if (col_predict_waits(in)) continue;
        totals t = {1, in->seconds, in->flops, in->bytes, 0, 0};
        if (machine) {
            t.arithmetic = col_cost_arithmetic(machine, class, in->flops);
            t.traffic = col_cost_traffic(machine, in->bytes);
        }
        add_totals(&classes[class], &t);
        add_totals(&all, &t);
    }
    col_str_printf(out, "\n  %-10s %6s %10s %7s %9s %10s %10s %10s\n", "class", "count", "predicted", "share",
                   "flops", "floor", "traffic", "floor");
    for (int c = 0; c < COL_COST_COUNT; c++) {
        if (classes[c].count)
            print_totals(col_cost_class_name((col_cost_class)c), &classes[c], all.seconds, machine, out);
    }
    print_totals("all", &all, all.seconds, machine, out);
}

/* Of each instruction; the caller's to free. */
static double *exposed_seconds(const col_plan *plan, const col_plan_program *program, col_plan_clocks *out)
{
    double *exposed = calloc(program->n_instructions + 1, sizeof *exposed);
    if (!exposed) col_out_of_memory(0);
    *out = col_plan_run_clocks(plan, program, exposed);
    return exposed;
}

static void print_program(const col_machine *machine, const col_plan *plan, const col_plan_program *program,
                          col_str *out)
{
    static const char *const phases[] = {"forward", "backward", "update"};
    char seconds[COL_HUMAN_SIZE];
    col_str scratch = {0};
    col_plan_clocks clocks;
    double *exposed = exposed_seconds(plan, program, &clocks);
    col_str_printf(out, "\nprogram %s: %zu instructions, predicted %s\n", program->name,
                   program->n_instructions, col_format_seconds(seconds, clocks.seconds));
    uint32_t phase = UINT32_MAX;
    for (size_t i = 0; i < program->n_instructions; i++) {
        const col_plan_instruction *in = program->instructions[i];
        if (in->phase != phase && in->phase < COL_COUNT(phases))
            col_str_printf(out, "\n# %s\n", phases[in->phase]);
        phase = in->phase;
        print_instruction(in, exposed[i], &scratch, out);
    }
    free(exposed);
    col_str_fini(&scratch);
    print_classes(machine, program, out);
}

/* Variables. */

static const char *variable_kind(const col_plan_variable *v)
{
    static const char *const kinds[] = {"input", "parameter", "state"};
    return v->frozen ? "frozen" : kinds[v->kind];
}

static void print_variables(const col_plan *plan, col_str *out)
{
    col_str_printf(out, "\nvariables: %zu\n", plan->n_variables);
    for (size_t i = 0; i < plan->n_variables; i++) {
        const col_plan_variable *v = plan->variables[i];
        char bytes[COL_HUMAN_SIZE];
        col_str type = {0};
        col_str_printf(&type, "%s[", col_plan_dtype_name(v->dtype));
        for (size_t d = 0; d < v->n_dims; d++)
            col_str_printf(&type, "%s%lld", d ? ", " : "", (long long)v->dims[d]);
        col_str_append(&type, "]");
        col_str_printf(out, "%-44s %-10s %-22s %-6s at %12llu  mem %9s\n", v->name, variable_kind(v),
                       col_str_text(&type), v->layout && *v->layout ? v->layout : "R",
                       (unsigned long long)v->offset,
                       col_format_bytes(bytes, (double)col_plan_local_bytes(plan, v)));
        col_str_fini(&type);
    }
}

static bool is_shown(const col_explain_options *options, const char *program)
{
    return !options->program || !strcmp(options->program, program);
}

void col_explain_text(const col_plan *plan, const col_explain_options *options, col_str *out)
{
    col_report_summary(plan, out);
    if (plan->sharding && is_shown(options, plan->sharding->program))
        col_explain_sharding(plan, options->edges, out);
    for (size_t i = 0; i < plan->n_programs; i++) {
        if (is_shown(options, plan->programs[i]->name))
            print_program(options->machine, plan, plan->programs[i], out);
    }
    for (size_t i = 0; i < plan->n_memory; i++) {
        if (!is_shown(options, plan->memory[i]->program)) continue;
        col_explain_memory(plan, plan->memory[i], out);
        col_explain_recompute_text(plan, plan->memory[i], out);
    }
    if (options->variables) print_variables(plan, out);
}

/* JSON. */

static void set(json_t *object, const char *key, json_t *value)
{
    if (json_object_set_new(object, key, value)) col_out_of_memory(0);
}

static json_t *dims_json(size_t rank, const int64_t *dims)
{
    json_t *list = json_array();
    for (size_t i = 0; i < rank; i++) json_array_append_new(list, json_integer(dims[i]));
    return list;
}

static json_t *views_json(col_plan_view *const *views, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        json_t *view = json_object();
        set(view, "dtype", json_string(col_plan_dtype_name(views[i]->dtype)));
        set(view, "shape", dims_json(views[i]->n_dims, views[i]->dims));
        set(view, "offset", json_integer((json_int_t)views[i]->offset));
        json_array_append_new(list, view);
    }
    return list;
}

static json_t *instruction_json(const col_plan_instruction *in, double exposed)
{
    json_t *out = json_object();
    set(out, "name", col_report_text(in->name));
    set(out, "kind", json_string(col_explain_kind(in)));
    if (in->kind_case == COL__PLAN__INSTRUCTION__KIND_KERNEL)
        set(out, "kernel", col_report_text(in->kernel->symbol));
    set(out, "phase", json_integer(in->phase));
    set(out, "writes", views_json(in->writes, in->n_writes));
    set(out, "reads", views_json(in->reads, in->n_reads));
    set(out, "flops", json_real(in->flops));
    set(out, "bytes", json_real(in->bytes));
    set(out, "compute_seconds", json_real(col_predict_communicates(in) ? 0 : in->seconds));
    set(out, "communication_seconds", json_real(col_predict_communicates(in) ? in->seconds : 0));
    set(out, "memory_bytes", json_real(col_explain_written_bytes(in)));
    if (col_predict_communicates(in)) {
        set(out, "overlapped", json_boolean(col_predict_overlaps(in)));
        set(out, "exposed_seconds", json_real(exposed));
    }
    return out;
}

static json_t *program_json(const col_plan *plan, const col_plan_program *program)
{
    json_t *out = json_object(), *list = json_array();
    col_plan_clocks clocks;
    double *exposed = exposed_seconds(plan, program, &clocks);
    set(out, "name", col_report_text(program->name));
    set(out, "runs_per_step", json_integer(col_predict_runs(plan, program)));
    set(out, "seconds", json_real(clocks.seconds));
    for (size_t i = 0; i < program->n_instructions; i++)
        json_array_append_new(list, instruction_json(program->instructions[i], exposed[i]));
    free(exposed);
    set(out, "instructions", list);
    return out;
}

static json_t *memory_json(const col_plan *plan, const Col__Plan__MemoryReport *m)
{
    json_t *out = json_object(), *list = json_array(), *again = col_explain_recompute_json(plan, m);
    set(out, "program", col_report_text(m->program));
    set(out, "state_bytes", json_integer((json_int_t)m->state_bytes));
    set(out, "temporary_bytes", json_integer((json_int_t)m->temporary_bytes));
    set(out, "live_bound", json_integer((json_int_t)m->live_bound));
    set(out, "peak_instruction", json_integer(m->peak_instruction));
    for (size_t i = 0; i < m->n_buffers; i++) {
        const Col__Plan__LiveBuffer *b = m->buffers[i];
        json_t *buffer = json_object();
        set(buffer, "name", col_report_text(b->name));
        set(buffer, "offset", json_integer((json_int_t)b->offset));
        set(buffer, "bytes", json_integer((json_int_t)b->bytes));
        set(buffer, "first", json_integer(b->first));
        set(buffer, "last", json_integer(b->last));
        json_array_append_new(list, buffer);
    }
    set(out, "buffers", list);
    if (again) set(out, "recomputation", again);
    return out;
}

static json_t *variable_json(const col_plan *plan, const col_plan_variable *v)
{
    json_t *out = json_object();
    set(out, "name", col_report_text(v->name));
    set(out, "kind", json_string(variable_kind(v)));
    set(out, "dtype", json_string(col_plan_dtype_name(v->dtype)));
    set(out, "shape", dims_json(v->n_dims, v->dims));
    set(out, "layout", col_report_text(v->layout && *v->layout ? v->layout : "R"));
    set(out, "offset", json_integer((json_int_t)v->offset));
    set(out, "bytes", json_integer((json_int_t)col_plan_local_bytes(plan, v)));
    return out;
}

json_t *col_explain_json(const col_plan *plan, const col_explain_options *options)
{
    json_t *out = col_report_json(plan), *programs = json_array(), *memory = json_array();
    for (size_t i = 0; i < plan->n_programs; i++) {
        if (is_shown(options, plan->programs[i]->name))
            json_array_append_new(programs, program_json(plan, plan->programs[i]));
    }
    for (size_t i = 0; i < plan->n_memory; i++) {
        if (is_shown(options, plan->memory[i]->program))
            json_array_append_new(memory, memory_json(plan, plan->memory[i]));
    }
    if (plan->sharding && is_shown(options, plan->sharding->program))
        set(out, "sharding", col_explain_sharding_json(plan->sharding));
    set(out, "programs", programs);
    set(out, "memory", memory);
    if (options->variables) {
        json_t *variables = json_array();
        for (size_t i = 0; i < plan->n_variables; i++)
            json_array_append_new(variables, variable_json(plan, plan->variables[i]));
        set(out, "variables", variables);
    }
    return out;
}
