#include "frontend/report.h"

#include <stdlib.h>
#include <string.h>

#include "frontend/explain_recompute.h"
#include "frontend/predict.h"
#include "ir/base/file.h"
#include "ir/base/map.h"

/* Figures. */

static bool ends_with(const char *text, const char *end)
{
    size_t size = strlen(text), tail = strlen(end);
    return size >= tail && !strcmp(text + size - tail, end);
}

static void count_variable(const col_plan *plan, const col_plan_variable *v, col_report_figures *out)
{
    uint64_t bytes = col_plan_local_bytes(plan, v);
    if (v->kind == COL__PLAN__VARIABLE_KIND__PARAM) {
        out->parameters += (uint64_t)col_plan_numel(v->n_dims, v->dims);
        out->parameter_tensors++;
        out->parameter_bytes += bytes;
    } else if (v->kind == COL__PLAN__VARIABLE_KIND__INPUT) {
        out->input_bytes += bytes;
    } else if (!strncmp(v->name, "cache.", 6) && (ends_with(v->name, ".k") || ends_with(v->name, ".v"))) {
        out->cache_bytes += bytes; /* named by passes/kv_cache.c */
    } else {
        out->optimizer_bytes += bytes;
    }
}

static uint64_t count_kernels(const col_plan *plan)
{
    col_arena *arena = col_arena_create();
    col_map *seen = col_map_create(arena);
    for (size_t p = 0; p < plan->n_programs; p++) {
        for (size_t i = 0; i < plan->programs[p]->n_instructions; i++) {
            const col_plan_instruction *in = plan->programs[p]->instructions[i];
            if (in->kind_case != COL__PLAN__INSTRUCTION__KIND_KERNEL) continue;
            const char *key = col_arena_printf(arena, "%u %s", in->kernel->object, in->kernel->symbol);
            col_map_set(seen, key, plan->programs[p]->instructions[i]);
        }
    }
    uint64_t count = seen->len;
    col_arena_destroy(arena);
    return count;
}

static double pass_seconds(const col_plan *plan, const char *program, const char *pass)
{
    double seconds = 0;
    size_t size = strlen(program);
    for (size_t i = 0; i < plan->n_passes; i++) {
        const char *name = plan->passes[i]->name;
        if (!strncmp(name, program, size) && name[size] == '.' && !strcmp(name + size + 1, pass)) {
            seconds += plan->passes[i]->seconds;
        }
    }
    return seconds;
}

void col_report_figure(const col_plan *plan, col_report_figures *out)
{
    *out = (col_report_figures){.kernels = count_kernels(plan)};
    for (size_t i = 0; i < plan->n_variables; i++) count_variable(plan, plan->variables[i], out);
    for (size_t i = 0; i < plan->n_objects; i++) out->code_bytes += plan->objects[i]->image.len;
    for (size_t i = 0; i < plan->n_memory; i++) {
        const Col__Plan__MemoryReport *m = plan->memory[i];
        if (!out->memory || m->temporary_bytes > out->memory->temporary_bytes) out->memory = m;
    }
    if (out->memory) out->memory_seconds = pass_seconds(plan, out->memory->program, "memory");
}

/* JSON. */

static void set(json_t *object, const char *key, json_t *value)
{
    if (json_object_set_new(object, key, value)) col_out_of_memory(0);
}

static json_t *number(uint64_t value)
{
    return json_integer((json_int_t)value);
}

static const char *text_or_empty(const char *text)
{
    return text ? text : "";
}

json_t *col_report_text(const char *text)
{
    json_t *value = json_string(text_or_empty(text));
    return value ? value : json_string("(not UTF-8)");
}

static json_t *mesh_json(const col_plan *plan)
{
    json_t *mesh = json_object(), *shape = json_array();
    for (size_t i = 0; i < plan->n_mesh; i++) json_array_append_new(shape, json_integer(plan->mesh[i]));
    if (!plan->n_mesh) json_array_append_new(shape, json_integer(1));
    set(mesh, "shape", shape);
    return mesh;
}

/* Bytes of a rank, on average, which may be no whole number. */
static json_t *average(double bytes)
{
    bool is_whole = bytes == (double)(json_int_t)bytes;
    return is_whole ? json_integer((json_int_t)bytes) : json_real(bytes);
}

static json_t *predicted_json(const col_plan *plan, const col_report_figures *f)
{
    json_t *out = json_object();
    double seconds = col_predict_step(plan);
    col_predicted_communication c;
    col_predict_communication(plan, &c);
    set(out, "step_seconds", json_real(seconds));
    set(out, "compute_seconds", json_real(seconds - c.exposed));
    set(out, "communication_seconds", json_real(c.seconds));
    set(out, "exposed_communication_seconds", json_real(c.exposed));
    set(out, "recompute_seconds", json_real(col_predict_again(plan)));
    set(out, "peak_bytes", number(plan->arena_bytes));
    set(out, "state_bytes", number(f->parameter_bytes + f->optimizer_bytes + f->cache_bytes));
    set(out, "communication_bytes", average(c.bytes));
    json_t *kinds = json_object();
    for (size_t k = 0; k < COL_COUNT(c.by_kind); k++) {
        if (c.by_kind[k])
            set(kinds, col_plan_collective_name((Col__Plan__CollectiveKind)k), average(c.by_kind[k]));
    }
    set(out, "collective_bytes", kinds);
    return out;
}

/* Rows of the offsets problem: pairs of buffers that are live at one time and so may not overlap. */
static uint64_t overlapping_pairs(const Col__Plan__MemoryReport *m)
{
    uint64_t pairs = 0;
    for (size_t i = 0; i < m->n_buffers; i++) {
        for (size_t j = 0; j < i; j++) {
            pairs +=
                m->buffers[i]->first <= m->buffers[j]->last && m->buffers[j]->first <= m->buffers[i]->last;
        }
    }
    return pairs;
}

/* Where the temporaries lie. Bytes are the objective. */
static json_t *offsets_json(const col_report_figures *f)
{
    const Col__Plan__MemoryReport *m = f->memory;
    json_t *out = json_object();
    uint64_t objective = m ? m->temporary_bytes : 0, bound = m ? m->live_bound : 0;
    set(out, "problem", json_string("offsets"));
    set(out, "status", json_string(objective <= bound ? "optimal" : "feasible"));
    set(out, "objective", number(objective));
    set(out, "bound", number(bound));
    set(out, "gap", json_real(objective <= bound ? 0 : (double)(objective - bound) / (double)objective));
    set(out, "seconds", json_real(f->memory_seconds));
    set(out, "variables", number(m ? m->n_buffers : 0));
    set(out, "rows", number(m ? overlapping_pairs(m) : 0));
    return out;
}

/* How the program is split. Seconds of a step are the objective. */
static json_t *sharding_json(const Col__Plan__Sharding *s)
{
    json_t *out = json_object();
    set(out, "problem", json_string("sharding"));
    set(out, "plan", col_report_text(s->plan));
    set(out, "status", col_report_text(s->status));
    set(out, "objective", json_real(s->objective));
    set(out, "bound", json_real(s->bound));
    set(out, "gap", json_real(s->gap));
    set(out, "seconds", json_real(s->seconds));
    set(out, "variables", json_integer(s->variables));
    set(out, "rows", json_integer(s->rows));
    set(out, "nodes", json_integer(s->nodes));
    set(out, "edges", json_integer(s->edge_count));
    set(out, "strategies", json_integer(s->strategies));
    set(out, "peak_bytes", number(s->peak_bytes));
    return out;
}

static json_t *alternatives_json(const Col__Plan__Sharding *s)
{
    json_t *list = json_array();
    for (size_t i = 0; i < s->n_alternatives; i++) {
        const Col__Plan__Alternative *a = s->alternatives[i];
        json_t *row = json_object();
        set(row, "plan", col_report_text(a->plan));
        set(row, "status", col_report_text(a->status));
        if (*a->reason) {
            set(row, "reason", col_report_text(a->reason));
        } else {
            bool runs = strcmp(a->status, "infeasible") != 0;
            set(row, "step_seconds", runs ? json_real(a->seconds) : json_null());
            set(row, "compute_seconds", runs ? json_real(a->compute_seconds) : json_null());
            set(row, "communication_seconds", runs ? json_real(a->communication_seconds) : json_null());
            set(row, "peak_bytes", number(a->peak_bytes));
        }
        json_array_append_new(list, row);
    }
    return list;
}

static json_t *passes_json(const col_plan *plan)
{
    json_t *list = json_array();
    for (size_t i = 0; i < plan->n_passes; i++) {
        json_t *pass = json_object();
        set(pass, "name", col_report_text(plan->passes[i]->name));
        set(pass, "seconds", json_real(plan->passes[i]->seconds));
        json_array_append_new(list, pass);
    }
    return list;
}

static json_t *settings_json(const col_plan *plan)
{
    json_t *out = json_object();
    for (size_t i = 0; plan->source && i < plan->source->n_settings; i++) {
        const Col__Plan__Setting *s = plan->source->settings[i];
        bool is_float = s->value_case == COL__PLAN__SETTING__VALUE_FLOAT_VALUE;
        set(out, s->name, is_float ? json_real(s->float_value) : json_integer(s->int_value));
    }
    return out;
}

/* Instructions of the program that makes a step; "micro" is a part of it. */
static uint64_t step_instructions(const col_plan *plan)
{
    uint64_t count = 0;
    for (size_t p = 0; p < plan->n_programs; p++) {
        bool counts = col_predict_runs(plan, plan->programs[p]) && strcmp(plan->programs[p]->name, "micro");
        if (counts) count += plan->programs[p]->n_instructions;
    }
    return count;
}

json_t *col_report_json(const col_plan *plan)
{
    col_report_figures f;
    col_report_figure(plan, &f);
    json_t *out = json_object();
    if (!out) col_out_of_memory(0);
    set(out, "model", col_report_text(plan->source ? plan->source->name : ""));
    set(out, "settings", settings_json(plan));
    set(out, "use", col_report_text(plan->use));
    set(out, "target", col_report_text(plan->target));
    set(out, "machine", col_report_text(plan->machine));
    set(out, "mesh", mesh_json(plan));
    set(out, "precision", col_report_text(plan->precision));
    set(out, "optimizer", col_report_text(plan->optimizer));
    set(out, "ops", number(step_instructions(plan)));
    set(out, "parameters", number(f.parameters));
    set(out, "predicted", predicted_json(plan, &f));
    if (plan->sharding) {
        set(out, "solver", sharding_json(plan->sharding));
        set(out, "alternatives", alternatives_json(plan->sharding));
        set(out, "placement", offsets_json(&f));
    } else {
        set(out, "solver", offsets_json(&f));
    }
    if (plan->recompute) set(out, "recomputation", col_explain_recompute_choice(plan->recompute));
    set(out, "passes", passes_json(plan));
    set(out, "compile_seconds", json_real(plan->compile_seconds));
    set(out, "producer", col_report_text(plan->producer));
    return out;
}

void col_report_print_json(const json_t *json, col_str *out)
{
    char *text = json_dumps(json, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
    if (!text) col_out_of_memory(0);
    col_str_printf(out, "%s\n", text);
    free(text);
}

col_status col_report_write(const col_plan *plan, const char *path)
{
    json_t *json = col_report_json(plan);
    col_str text = {0};
    col_report_print_json(json, &text);
    json_decref(json);
    col_status status = col_file_write(path, col_str_text(&text), text.len);
    col_str_fini(&text);
    return status;
}

/* Summary. */

static void summarize_programs(const col_plan *plan, col_str *out)
{
    col_str_append(out, "programs   ");
    for (size_t p = 0; p < plan->n_programs; p++) {
        const col_plan_program *program = plan->programs[p];
        size_t counts[COL_COST_COUNT] = {0};
        for (size_t i = 0; i < program->n_instructions; i++)
            counts[col_predict_class(program->instructions[i])] +=
                !col_predict_waits(program->instructions[i]);
        col_str_printf(out, "%s%s %zu instructions (", p ? ", " : "", program->name, program->n_instructions);
        const char *comma = "";
        for (int c = 0; c < COL_COST_COUNT; c++) {
            if (!counts[c]) continue;
            col_str_printf(out, "%s%zu %s", comma, counts[c], col_cost_class_name((col_cost_class)c));
            comma = ", ";
        }
        col_str_append(out, ")");
    }
    col_str_append(out, "\n");
}

static void summarize_memory(const col_plan *plan, const col_report_figures *f, col_str *out)
{
    char a[COL_HUMAN_SIZE], b[COL_HUMAN_SIZE], c[COL_HUMAN_SIZE];
    col_str_printf(out, "state      %s of parameters, %s of optimizer state",
                   col_format_bytes(a, (double)f->parameter_bytes),
                   col_format_bytes(b, (double)f->optimizer_bytes));
    if (f->cache_bytes)
        col_str_printf(out, ", %s of key-value cache", col_format_bytes(c, (double)f->cache_bytes));
    col_str_printf(out, "\nmemory     %s: state and inputs %s",
                   col_format_bytes(a, (double)plan->arena_bytes),
                   col_format_bytes(b, (double)plan->state_bytes));
    if (f->memory) {
        uint64_t above =
            f->memory->temporary_bytes - COL_MIN(f->memory->live_bound, f->memory->temporary_bytes);
        col_str_printf(out, ", temporaries %s", col_format_bytes(a, (double)f->memory->temporary_bytes));
        if (!above)
            col_str_append(out, " (proved optimal)");
        else
            col_str_printf(out, " (%.1f %% above the bound)",
                           100 * (double)above / (double)COL_MAX(f->memory->live_bound, 1));
    }
    col_str_append(out, "\n");
}

static void summarize_kernels(const col_plan *plan, const col_report_figures *f, col_str *out)
{
    char bytes[COL_HUMAN_SIZE];
    col_str_printf(out, "kernels    %llu distinct, %s of code", (unsigned long long)f->kernels,
                   col_format_bytes(bytes, (double)f->code_bytes));
    for (size_t i = 0; i < plan->n_objects; i++) {
        for (size_t j = 0; j < plan->objects[i]->n_features; j++) {
            col_str_printf(out, "%s %s", i + j ? "" : ", for", plan->objects[i]->features[j]);
        }
    }
    col_str_append(out, "\n");
}

/* How much of the communication goes on beside computation. */
static void summarize_communication(const col_plan *plan, col_str *out)
{
    char a[COL_HUMAN_SIZE], b[COL_HUMAN_SIZE];
    col_predicted_communication c;
    col_predict_communication(plan, &c);
    if (!(c.seconds > 0)) return;
    col_str_printf(out, "           communication %s, %s of it exposed\n", col_format_seconds(a, c.seconds),
                   col_format_seconds(b, c.exposed));
}

void col_report_summary(const col_plan *plan, col_str *out)
{
    char a[COL_HUMAN_SIZE], b[COL_HUMAN_SIZE];
    col_report_figures f;
    col_report_figure(plan, &f);
    col_str_printf(out, "model      %s", plan->source ? text_or_empty(plan->source->name) : "");
    for (size_t i = 0; plan->source && i < plan->source->n_settings; i++) {
        const Col__Plan__Setting *s = plan->source->settings[i];
        const char *before = i ? "," : " with";
        if (s->value_case == COL__PLAN__SETTING__VALUE_FLOAT_VALUE)
            col_str_printf(out, "%s %s %g", before, s->name, s->float_value);
        else
            col_str_printf(out, "%s %s %lld", before, s->name, (long long)s->int_value);
    }
    col_str_printf(out, "\nparameters %s in %llu tensors; %s%s%s on %s\n",
                   col_format_count(a, (double)f.parameters), (unsigned long long)f.parameter_tensors,
                   text_or_empty(plan->precision), plan->optimizer && *plan->optimizer ? ", " : "",
                   text_or_empty(plan->optimizer), text_or_empty(plan->machine));
    summarize_programs(plan, out);
    summarize_kernels(plan, &f, out);
    summarize_memory(plan, &f, out);
    col_str_printf(out, "compiled   in %s; predicted %s a step\n",
                   col_format_seconds(a, plan->compile_seconds),
                   col_format_seconds(b, col_predict_step(plan)));
    summarize_communication(plan, out);
}
