/* An import goes through the file in order: names of inputs and initializers become variables, and each node
 * calls the function of its row in ops.def, which builds graph nodes from values that are there already. After
 * every node, whatever depends on small known tensors alone is evaluated (ir/evaluate's oracle, in fp64):
 * shapes, axes, sizes. What was built for them and is read by nothing is removed at the end. */
#include "frontend/onnx/import.h"

#include <string.h>

#include "frontend/lex.h"
#include "frontend/onnx/importer.h"
#include "ir/base/file.h"

enum { FIRST_OPSET = 1, LAST_OPSET = 23, NAMED_FAULTS = 20, LONGEST_SCOPE = 200 };

void col_onnx_importer_fault(col_onnx_importer *im, const char *format, ...)
{
    if (im->fault_count++ >= NAMED_FAULTS) return;
    va_list args;
    va_start(args, format);
    col_str_append(&im->faults, "\n  ");
    col_str_vprintf(&im->faults, format, args);
    va_end(args);
}

bool col_onnx_importer_afford(col_onnx_importer *im, int64_t count)
{
    if (count > COL_ONNX_COMPUTED_ELEMENTS - im->computed) return false;
    im->computed += count;
    return true;
}

static col_status faults_status(col_onnx_importer *im)
{
    col_status status = NULL;
    if (im->fault_count) {
        size_t more = im->fault_count > NAMED_FAULTS ? im->fault_count - NAMED_FAULTS : 0;
        status = col_error_make(COL_BAD_INPUT, "%s: this ONNX model cannot be imported:%s%s", im->file,
                                col_str_text(&im->faults),
                                more ? col_arena_printf(im->arena, "\n  ... and %zu more", more) : "");
    }
    col_str_fini(&im->faults);
    return status;
}

/* Nodes. */

typedef struct row {
    const char *name;
    int low, high;
    void (*function)(col_onnx_node *n, int detail);
    int detail;
} row;

static const row rows[] = {
#define ONNX(name, low, high, function, detail) {#name, low, high, col_onnx_op_##function, detail},
#include "frontend/onnx/ops.def"
#undef ONNX
};

static const row *find_row(const Col__Onnx__Node *message)
{
    bool foreign = message->domain && *message->domain && strcmp(message->domain, "ai.onnx");
    if (foreign || !message->op_type) return NULL;
    for (size_t i = 0; i < COL_COUNT(rows); i++) {
        if (!strcmp(rows[i].name, message->op_type)) return &rows[i];
    }
    return NULL;
}

/* Every op that is not in the table, or not for this opset, once each. */
static void refuse_ops(col_onnx_importer *im, const Col__Onnx__Graph *graph)
{
    col_map *counts = col_map_create(im->arena);
    for (size_t i = 0; i < graph->n_node; i++) {
        const Col__Onnx__Node *message = graph->node[i];
        const row *found = find_row(message);
        if (found && im->opset >= found->low && im->opset <= found->high) continue;
        bool foreign = message->domain && *message->domain;
        const char *name =
            col_arena_printf(im->arena, "%s%s%s", foreign ? message->domain : "", foreign ? "::" : "",
                             message->op_type ? message->op_type : "without a name");
        if (found)
            name = col_arena_printf(im->arena, "%s of opset %lld (known from %d to %d)", name,
                                    (long long)im->opset, found->low, found->high);
        size_t *count = col_map_get(counts, name);
        if (!count) col_map_set(counts, name, count = COL_NEW(im->arena, size_t));
        ++*count;
    }
    for (size_t i = 0; i < counts->len; i++) {
        col_onnx_importer_fault(im, "op %s is not supported (%zu node%s)", counts->entries[i].key,
                                *(size_t *)counts->entries[i].value,
                                *(size_t *)counts->entries[i].value == 1 ? "" : "s");
    }
}

/* A node's name as its place in logs: printable ASCII without quotes. */
static const char *scope_of(const col_onnx_importer *im, const Col__Onnx__Node *message)
{
    const char *name = message->name ? message->name : "";
    while (*name == '%' || *name == '/') name++;
    char *scope = col_arena_strndup(im->arena, name, COL_MIN(strlen(name), (size_t)LONGEST_SCOPE));
    for (char *at = scope; *at; at++) {
        if (*at <= ' ' || *at > '~' || *at == '"' || *at == '`') *at = '_';
    }
    return scope;
}

/* False when an operand is missing through an earlier fault, or there is none of that name. */
static bool find_operands(col_onnx_importer *im, col_onnx_node *n)
{
    bool all = true;
    for (uint32_t i = 0; i < n->input_count; i++) {
        const char *name = n->message->input[i];
        if (!*name) continue;
        const col_onnx_slot *slot = col_map_get(im->slots, name);
        if (!slot) {
            col_onnx_fault(n,
                           "it reads '%s', which nothing before it makes: the graph is cyclic, not in order "
                           "or incomplete",
                           name);
        }
        all = all && slot && slot->value;
        const char *op = n->message->op_type;
        if (slot && slot->is_small && strcmp(op, "Cast") && (strcmp(op, "CastLike") || i))
            col_onnx_fault(n, "'%s' has 8-bit floats, which can only be cast to others: cast it first", name);
        n->inputs[i] = slot ? slot->value : NULL;
    }
    return all && !n->failed;
}

static void run_node(col_onnx_importer *im, col_onnx_node *n)
{
    const row *found = find_row(n->message);
    found->function(n, found->detail);
    if (im->diags.total && im->diags.list.len) col_onnx_fault(n, "%s", im->diags.list.data[0].message);
    im->diags = (col_diags){.arena = im->arena};
    if (!n->failed) col_onnx_check_read(n);
    for (uint32_t i = 0; i < n->output_count && !n->failed; i++) {
        if (col_onnx_wants(n, i) && !n->outputs[i])
            col_onnx_fault(n, "its output %u is not supported: remove what reads it", i + 1);
    }
}

static void add_node(col_onnx_importer *im, const Col__Onnx__Node *message)
{
    col_onnx_node n = {.importer = im,
                       .message = message,
                       .opset = (int)im->opset,
                       .b = &im->builder,
                       .arena = im->arena,
                       .input_count = (uint32_t)message->n_input,
                       .output_count = (uint32_t)message->n_output};
    n.inputs = COL_NEW_ARRAY(im->arena, col_value *, n.input_count + 1);
    n.outputs = COL_NEW_ARRAY(im->arena, col_value *, n.output_count + 1);
    im->builder.scope = scope_of(im, message);
    if (find_operands(im, &n)) run_node(im, &n);
    col_onnx_importer_fold(im);
    for (uint32_t i = 0; i < n.output_count; i++) {
        if (*message->output[i])
            col_onnx_importer_define(im, message->output[i], n.failed ? NULL : n.outputs[i]);
    }
}

/* Outputs become files of their names, which therefore have no slashes. */
static const char *file_name(const col_onnx_importer *im, const char *name)
{
    char *copy = col_arena_strdup(im->arena, name);
    for (char *at = copy; (at = strchr(at, '/'));) *at = '.';
    return copy;
}

static void add_empty(col_onnx_importer *im, const char *name, col_type type)
{
    for (size_t i = 0; i < im->empty.len; i++) {
        if (!strcmp(im->empty.data[i].name, name))
            col_onnx_importer_fault(im, "the output '%s' is there twice", name);
    }
    col_onnx_empty empty = {name, type};
    col_vec_push(im->arena, &im->empty, empty);
}

static void add_outputs(col_onnx_importer *im, const Col__Onnx__Graph *graph)
{
    if (!graph->n_output) col_onnx_importer_fault(im, "the model has no outputs");
    for (size_t i = 0; i < graph->n_output; i++) {
        if (!col_onnx_importer_check_name(im, "output", graph->output[i]->name)) continue;
        const col_onnx_slot *slot = col_map_get(im->slots, graph->output[i]->name);
        const char *name = file_name(im, graph->output[i]->name);
        if (!slot) col_onnx_importer_fault(im, "nothing makes the output '%s'", name);
        if (slot && slot->is_small)
            col_onnx_importer_fault(im, "the output '%s' has 8-bit floats, which are not supported: cast it",
                                    name);
        if (col_graph_find_output(im->graph, name))
            col_onnx_importer_fault(im, "the output '%s' is there twice", name);
        else if (slot && slot->value && !col_shape_numel(slot->value->type.shape))
            add_empty(im, name, slot->value->type);
        else if (slot && slot->value)
            col_graph_add_output(im->graph, name, slot->value, (col_loc){0});
    }
}

/* Removes nodes and variables that nothing reads. */
static void sweep(col_onnx_importer *im)
{
    col_graph *graph = im->graph;
    bool *is_output = COL_NEW_ARRAY(im->arena, bool, graph->next_value_id);
    for (size_t i = 0; i < graph->outputs.len; i++) is_output[graph->outputs.data[i].value->id] = true;
    for (col_node *node = graph->last, *before; node; node = before) {
        bool used = false;
        before = node->prev;
        for (uint32_t i = 0; i < node->result_count; i++)
            used |= col_value_has_uses(&node->results[i]) || is_output[node->results[i].id];
        if (!used) col_graph_remove(node);
    }
    size_t kept = 0;
    graph->var_by_name = col_map_create(graph->arena);
    for (size_t i = 0; i < graph->vars.len; i++) {
        col_var *var = graph->vars.data[i];
        if (!col_value_has_uses(var->value) && !is_output[var->value->id]) {
            var->index = UINT32_MAX;
            continue;
        }
        var->index = (uint32_t)kept;
        graph->vars.data[kept++] = var;
        col_map_set(graph->var_by_name, var->name, var);
    }
    graph->vars.len = kept;
    kept = 0;
    for (size_t i = 0; i < im->weights.len; i++) {
        if (im->weights.data[i].var->index != UINT32_MAX) im->weights.data[kept++] = im->weights.data[i];
    }
    im->weights.len = kept;
}

static void refuse_empty(col_onnx_importer *im, const char *what, const char *name, col_shape shape)
{
    if (!col_shape_numel(shape))
        col_onnx_importer_fault(im, "%s '%s': tensors without elements are not supported", what, name);
}

/* Plans have no tensors without elements. */
static void check_sizes(col_onnx_importer *im)
{
    for (size_t i = 0; i < im->graph->vars.len; i++) {
        const col_var *var = im->graph->vars.data[i];
        refuse_empty(im, "variable", var->name, var->type.shape);
    }
    COL_FOR_EACH_NODE (node, im->graph) {
        for (uint32_t i = 0; i < node->result_count; i++)
            refuse_empty(im, "node", node->scope, node->results[i].type.shape);
    }
}

/* The file. */

static bool find_opset(col_onnx_importer *im, const Col__Onnx__Model *message)
{
    for (size_t i = 0; i < message->n_opset_import; i++) {
        const Col__Onnx__OperatorSet *set = message->opset_import[i];
        if (!set->domain || !*set->domain || !strcmp(set->domain, "ai.onnx")) im->opset = set->version;
    }
    if (im->opset >= FIRST_OPSET && im->opset <= LAST_OPSET) return true;
    col_onnx_importer_fault(
        im, "it is of opset %lld; opsets %d to %d are known: convert it with onnx.version_converter",
        (long long)im->opset, FIRST_OPSET, LAST_OPSET);
    return false;
}

static void build(col_onnx_importer *im, const Col__Onnx__Model *message)
{
    const Col__Onnx__Graph *graph = message->graph;
    if (!find_opset(im, message)) return;
    if (graph->n_sparse_initializer)
        col_onnx_importer_fault(im, "sparse initializers are not supported: make them dense");
    refuse_ops(im, graph);
    if (im->fault_count) return;
    for (size_t i = 0; i < graph->n_initializer; i++)
        col_onnx_importer_add_initializer(im, graph->initializer[i]);
    const col_map *read = col_onnx_importer_read_names(im, graph);
    for (size_t i = 0; i < graph->n_input; i++) col_onnx_importer_add_input(im, graph->input[i], read);
    col_onnx_importer_fold(im);
    for (size_t i = 0; i < graph->n_node; i++) add_node(im, graph->node[i]);
    add_outputs(im, graph);
    col_status status = im->files ? col_onnx_files_check(im->files, im->arena) : NULL;
    if (status) col_onnx_importer_fault(im, "%s", col_error_message(status));
    if (col_error_ignore(status) || im->fault_count) return;
    sweep(im);
    check_sizes(im);
}

col_status col_onnx_import_bytes(const char *name, const char *folder, const void *bytes, size_t size,
                                 const col_onnx_options *options, col_arena *arena, col_onnx_model *out)
{
    static const col_onnx_options none;
    const Col__Onnx__Model *message = col_onnx_model_unpack(bytes, size, arena);
    *out = (col_onnx_model){.files = {.folder = folder}};
    if (!message || !message->graph)
        return col_error_make(COL_BAD_INPUT, "%s: this is no ONNX model, or only a part of one", name);
    col_onnx_importer im = {.file = name,
                            .files = folder ? &out->files : NULL,
                            .options = options ? options : &none,
                            .arena = arena,
                            .graph = col_graph_create(arena, "onnx"),
                            .diags = {.arena = arena},
                            .slots = col_map_create(arena)};
    im.builder = (col_builder){.graph = im.graph, .scope = "", .diags = &im.diags};
    build(&im, message);
    COL_TRY(faults_status(&im));
    out->graph = im.graph;
    out->inputs = col_map_create(arena);
    for (size_t i = 0; i < message->graph->n_input; i++)
        col_map_set(out->inputs, message->graph->input[i]->name, im.graph);
    out->weights.data = im.weights.data;
    out->weights.len = out->weights.cap = im.weights.len;
    out->empty.data = im.empty.data;
    out->empty.len = out->empty.cap = im.empty.len;
    return NULL;
}

void col_onnx_close(col_onnx_model *model)
{
    col_onnx_files_close(&model->files);
}

col_status col_onnx_import(const char *path, const col_onnx_options *options, col_arena *arena,
                           col_onnx_model *out)
{
    const char *slash = strrchr(path, '/');
    const char *folder = !slash          ? "."
                         : slash == path ? "/"
                                         : col_arena_strndup(arena, path, (size_t)(slash - path));
    col_mapping mapping;
    *out = (col_onnx_model){0};
    COL_TRY(col_file_map(path, &mapping));
    col_status status = col_onnx_import_bytes(path, folder, mapping.data, mapping.size, options, arena, out);
    col_file_unmap(&mapping);
    return status;
}
