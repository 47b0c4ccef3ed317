/* `colrun run`: a forward pass on inputs from .npy files; outputs go to .npy files. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ir/base/file.h"
#include "ir/base/str.h"
#include "runtime/command.h"
#include "runtime/session.h"
#include "runtime/store/npy.h"
#include "runtime/tensors.h"

typedef struct given {
    const char *name, *path;
} given;

typedef struct forward {
    col_arena *arena;
    col_session *session;
    const col_plan *plan;
    COL_VEC(given) inputs;
} forward;

static void append_shape(col_str *out, size_t rank, const int64_t *dims)
{
    col_str_append(out, "[");
    for (size_t i = 0; i < rank; i++) col_str_printf(out, "%s%lld", i ? ", " : "", (long long)dims[i]);
    col_str_append(out, "]");
}

static col_status read_arguments(forward *f, const col_options *options)
{
    for (size_t i = 0; i < options->values.len; i++) {
        const col_option_value *v = &options->values.data[i];
        if (strcmp(v->option->name, "input")) continue;
        const char *equals = strchr(v->value, '=');
        if (!equals || equals == v->value || !equals[1])
            return col_error_make(COL_BAD_INPUT, "--input %s: write NAME=FILE.npy", v->value);
        given g = {col_arena_strndup(f->arena, v->value, (size_t)(equals - v->value)), equals + 1};
        for (size_t k = 0; k < f->inputs.len; k++) {
            if (!strcmp(f->inputs.data[k].name, g.name))
                return col_error_make(COL_BAD_INPUT, "--input %s is given twice", g.name);
        }
        col_vec_push(f->arena, &f->inputs, g);
    }
    return NULL;
}

static bool is_input(const col_plan_variable *v)
{
    return v->kind == COL__PLAN__VARIABLE_KIND__INPUT && strcmp(v->name, COL_PLAN_COORDINATE);
}

/* Names that are given but no input, and inputs that are not given, in one error. */
static col_status check_names(const forward *f)
{
    col_str text = {0};
    for (size_t k = 0; k < f->inputs.len; k++) {
        const col_plan_variable *v = col_plan_find_variable(f->plan, f->inputs.data[k].name);
        if (!v || !is_input(v))
            col_str_printf(&text, "\n  --input %s: the model has no such input", f->inputs.data[k].name);
    }
    for (size_t i = 0; i < f->plan->n_variables; i++) {
        const col_plan_variable *v = f->plan->variables[i];
        bool found = !is_input(v);
        for (size_t k = 0; k < f->inputs.len && !found; k++) found = !strcmp(f->inputs.data[k].name, v->name);
        if (found) continue;
        col_str_printf(&text, "\n  missing: --input %s=FILE.npy, %s", v->name, col_plan_dtype_name(v->dtype));
        append_shape(&text, v->n_dims, v->dims);
    }
    col_status status = NULL;
    if (text.len)
        status = col_error_make(COL_BAD_INPUT, "the inputs are not those of the model:%s", text.data);
    col_str_fini(&text);
    return status;
}

static col_status check_shape(const col_plan_variable *v, const col_npy *array, const char *path)
{
    bool same = array->rank == v->n_dims;
    for (size_t i = 0; same && i < v->n_dims; i++) same = array->shape[i] == v->dims[i];
    if (same) return NULL;
    col_str text = {0};
    append_shape(&text, array->rank, array->shape);
    col_str_append(&text, ", the input is ");
    append_shape(&text, v->n_dims, v->dims);
    col_status status =
        col_error_make(COL_BAD_INPUT,
                       "'%s' has the shape %s: bring it to that shape, or compile with another --batch "
                       "or --seq",
                       path, text.data);
    col_str_fini(&text);
    return status;
}

/* NumPy's integers are 64 bits wide unless one asks; they go where 32 are wanted when the values fit. */
static col_status narrow(forward *f, const col_plan_variable *v, const col_npy *array, const char *path,
                         const void **out)
{
    int64_t count = col_plan_numel(v->n_dims, v->dims);
    int32_t *narrowed = col_arena_try_alloc(f->arena, (size_t)count * sizeof *narrowed);
    if (!narrowed) return col_error_make(COL_DEVICE, "no memory for '%s'", path);
    for (int64_t i = 0; i < count; i++) {
        int64_t wide;
        memcpy(&wide, (const char *)array->data + (size_t)i * sizeof wide, sizeof wide);
        if (wide < INT32_MIN || wide > INT32_MAX) {
            return col_error_make(COL_BAD_INPUT, "'%s': element %lld is %lld, which an i32 cannot hold", path,
                                  (long long)i, (long long)wide);
        }
        narrowed[i] = (int32_t)wide;
    }
    *out = narrowed;
    return NULL;
}

/* The type of a tensor's NumPy file. There is none for bf16: its bits stand for it. */
static col_store_dtype npy_dtype(Col__Plan__Dtype dtype)
{
    return dtype == COL__PLAN__DTYPE__BF16 ? COL_STORE_U16 : col_tensors_dtype(dtype);
}

static col_status feed_array(forward *f, const col_plan_variable *v, const col_npy *array, const char *path)
{
    const void *data = array->data;
    COL_TRY(check_shape(v, array, path));
    if (v->dtype == COL__PLAN__DTYPE__I32 && array->dtype == COL_STORE_I64) {
        COL_TRY(narrow(f, v, array, path, &data));
    } else if (array->dtype != npy_dtype(v->dtype)) {
        return col_error_make(COL_BAD_INPUT, "'%s' is of type %s, the input of type %s: convert it", path,
                              col_store_dtype_name(array->dtype), col_plan_dtype_name(v->dtype));
    }
    return col_session_write(f->session, v->name, data, col_plan_variable_bytes(v));
}

static col_status feed(forward *f)
{
    COL_TRY(check_names(f));
    for (size_t k = 0; k < f->inputs.len; k++) {
        const given *g = &f->inputs.data[k];
        col_npy array;
        COL_TRY(col_npy_open(g->path, &array));
        col_status status = feed_array(f, col_plan_find_variable(f->plan, g->name), &array, g->path);
        col_npy_close(&array);
        COL_TRY(col_error_annotate(status, "--input %s", g->name));
    }
    return NULL;
}

static col_status write_output(forward *f, const col_plan_output *output, const char *folder)
{
    const col_plan_view *view = output->view;
    uint64_t bytes = (uint64_t)col_plan_numel(view->n_dims, view->dims) * col_plan_dtype_size(view->dtype);
    if (strchr(output->name, '/'))
        return col_error_make(COL_BAD_INPUT, "the output '%s' cannot name a file", output->name);
    void *data = malloc(bytes ? bytes : 1);
    if (!data) return col_error_make(COL_DEVICE, "no memory for the output '%s'", output->name);
    col_status status = col_session_output(f->session, "forward", output->name, data, bytes);
    if (!status)
        status = col_npy_write(col_arena_printf(f->arena, "%s/%s.npy", folder, output->name),
                               npy_dtype(view->dtype), (uint32_t)view->n_dims, view->dims, data);
    free(data);
    return status;
}

static col_status write_outputs(forward *f, const col_options *options)
{
    const char *folder = col_session_leads(f->session) ? col_options_get(options, "output") : NULL;
    const col_plan_program *program = col_plan_find_program(f->plan, "forward");
    col_str table = {0};
    col_status status = NULL;
    for (size_t i = 0; i < program->n_outputs && !status; i++) {
        const col_plan_output *output = program->outputs[i];
        col_str_printf(&table, "%-24s %s", output->name, col_plan_dtype_name(output->view->dtype));
        append_shape(&table, output->view->n_dims, output->view->dims);
        if (folder) {
            status = write_output(f, output, folder);
            col_str_printf(&table, "  %s/%s.npy", folder, output->name);
        }
        col_str_append(&table, "\n");
    }
    if (!status) fputs(col_str_text(&table), stdout);
    col_str_fini(&table);
    return status;
}

static col_status open_and_run(forward *f, const char *plan_path, const col_options *options)
{
    int64_t seed = 0;
    col_session_options session;
    const char *folder = col_options_get(options, "output"), *weights = col_options_get(options, "weights");
    COL_TRY(col_options_int(options, "seed", 0, INT64_MAX, &seed));
    COL_TRY(col_session_options_read(options, &session));
    COL_TRY(read_arguments(f, options));
    if (folder) COL_TRY(col_make_folder(folder));
    COL_TRY(col_session_open(plan_path, &session, &f->session));
    f->plan = col_session_plan(f->session);
    if (strcmp(f->plan->use, "forward") || !col_plan_find_program(f->plan, "forward")) {
        return col_error_make(COL_BAD_INPUT,
                              "'%s': it is a plan for '%s', not for a forward pass: give the model to "
                              "'colc run'",
                              plan_path, f->plan->use);
    }
    COL_TRY(feed(f));
    COL_TRY(col_session_initialize(f->session, seed));
    if (weights) COL_TRY(col_tensors_load_weights(f->session, weights));
    COL_TRY(col_session_run(f->session, "forward"));
    return write_outputs(f, options);
}

col_status col_command_run(const char *plan_path, const col_options *options)
{
    forward f = {.arena = col_arena_create()};
    col_status status = open_and_run(&f, plan_path, options);
    status = col_session_end(f.session, status);
    col_arena_destroy(f.arena);
    return status;
}
