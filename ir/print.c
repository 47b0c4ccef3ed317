/* Prints a graph as text in the model language (docs/ir.md); parsing the text gives the same graph: same
 * variables, nodes, attributes, scopes, phases, groups and turns, in the same order. Value ids are renumbered
 * only if they were printed from a graph with gaps. */
#include "ir/graph.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The shortest decimal that reads back as the same double. */
static void print_double(double value, col_str *out)
{
    char text[40];
    if (isnan(value)) {
        col_str_append(out, "nan");
        return;
    }
    if (isinf(value)) {
        col_str_append(out, value < 0 ? "-inf" : "inf");
        return;
    }
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value) break;
    }
    col_str_append(out, strcmp(text, "-0") ? text : "-0.0"); /* a whole -0 would read back as 0 */
}

/* Words of letters, digits and _ joined by dots, the first not beginning with a digit, stand as they are;
 * other names, as importers bring them, in backquotes. */
static void print_name(const char *name, col_str *out)
{
    static const char word[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";
    bool plain = !(*name >= '0' && *name <= '9');
    for (const char *at = name; plain; at++) {
        size_t size = strspn(at, word);
        plain = size > 0;
        at += size;
        if (*at != '.') {
            plain = plain && !*at;
            break;
        }
    }
    col_str_printf(out, plain ? "%s" : "`%s`", name);
}

static void print_value_name(const col_value *value, col_str *out)
{
    if (value->var)
        print_name(value->var->name, out);
    else
        col_str_printf(out, "%%%u", value->id);
}

static void print_attr(const col_attr *attr, col_str *out)
{
    col_str_printf(out, "%s=", col_attr_name(attr->key));
    switch (col_attr_kind_of(attr->key)) {
    case COL_KIND_INT: col_str_printf(out, "%lld", (long long)attr->int_value); break;
    case COL_KIND_FLOAT: print_double(attr->float_value, out); break;
    case COL_KIND_TEXT: col_str_printf(out, "\"%s\"", attr->text); break;
    case COL_KIND_INTS:
        col_str_append(out, "[");
        for (int i = 0; i < attr->count; i++)
            col_str_printf(out, "%s%lld", i ? ", " : "", (long long)attr->ints[i]);
        col_str_append(out, "]");
        break;
    }
}

static void print_settings(const col_graph *graph, col_str *out)
{
    col_str_append(out, "model ");
    print_name(graph->name, out);
    for (size_t i = 0; i < graph->settings.len; i++) {
        const col_setting *s = &graph->settings.data[i];
        col_str_printf(out, "%s%s = ", i ? ", " : "(", s->name);
        if (s->is_float) {
            size_t start = out->len;
            print_double(s->float_value, out);
            if (!strpbrk(out->data + start, ".einf"))
                col_str_append(out, ".0"); /* stays a float when read back */
        } else {
            col_str_printf(out, "%lld", (long long)s->int_value);
        }
    }
    col_str_append(out, graph->settings.len ? ")\n" : "\n");
    if (!graph->mesh.rank) return;
    col_str_append(out, "mesh ");
    col_mesh_print(&graph->mesh, out);
    col_str_append(out, "\n");
}

/* Nothing for a variable that every rank has whole. */
static void print_part(const col_var *var, col_str *out)
{
    if (!col_layout_axes(&var->layout)) return;
    col_str_append(out, " part ");
    col_layout_print(&var->layout, var->whole.rank, out);
    col_str_append(out, " of ");
    col_type_print(col_type_make(var->type.dtype, var->whole), out);
}

static void print_var(const col_var *var, col_str *out)
{
    static const char *const kinds[] = {"input", "param", "state"};
    col_str_printf(out, "%s ", kinds[var->kind]);
    print_name(var->name, out);
    col_str_append(out, " : ");
    col_type_print(var->type, out);
    print_part(var, out);
    if (var->kind != COL_VAR_INPUT) {
        static const char *const inits[] = {"zeros", "constant", "normal", "uniform"};
        col_str_printf(out, " ~ %s", inits[var->init.kind]);
        if (var->init.kind != COL_INIT_ZEROS) {
            col_str_append(out, "(");
            print_double(var->init.a, out);
            if (var->init.kind != COL_INIT_CONSTANT) {
                col_str_append(out, ", ");
                print_double(var->init.b, out);
            }
            col_str_append(out, ")");
        }
    }
    col_str_append(out, var->frozen ? " frozen\n" : "\n");
}

void col_node_print(const col_node *node, col_str *out)
{
    for (uint32_t i = 0; i < node->result_count; i++) {
        if (i) col_str_append(out, ", ");
        print_value_name(&node->results[i], out);
    }
    col_str_printf(out, "%s%s(", node->result_count ? " = " : "", col_op_info_of(node->op)->name);
    for (uint32_t i = 0; i < node->operand_count; i++) {
        if (i) col_str_append(out, ", ");
        print_value_name(node->operands[i].value, out);
    }
    uint32_t written = node->operand_count;
    for (uint32_t i = 0; i < node->attr_count; i++) {
        if (written++) col_str_append(out, ", ");
        print_attr(&node->attrs[i], out);
    }
    if (node->group >= 0) col_str_printf(out, "%sgroup=%d", written++ ? ", " : "", node->group);
    if (node->turn) col_str_printf(out, "%sturn=%d", written ? ", " : "", node->turn);
    col_str_append(out, ")");
    if (*node->scope) {
        col_str_append(out, " @ ");
        print_name(node->scope, out);
    }
    for (uint32_t i = 0; i < node->result_count; i++) {
        col_str_append(out, i ? ", " : " : ");
        col_type_print(node->results[i].type, out);
    }
}

void col_graph_print(const col_graph *graph, col_str *out)
{
    static const char *const phases[] = {"forward", "backward", "update"};
    print_settings(graph, out);
    for (size_t i = 0; i < graph->vars.len; i++) print_var(graph->vars.data[i], out);
    int phase = COL_PHASE_FORWARD;
    COL_FOR_EACH_NODE (node, graph) {
        if ((int)node->phase != phase) col_str_printf(out, "phase %s\n", phases[node->phase]);
        phase = (int)node->phase;
        col_node_print(node, out);
        col_str_append(out, "\n");
    }
    for (size_t i = 0; i < graph->outputs.len; i++) {
        col_str_append(out, "output ");
        print_name(graph->outputs.data[i].name, out);
        col_str_append(out, " = ");
        print_value_name(graph->outputs.data[i].value, out);
        col_str_append(out, "\n");
    }
}
