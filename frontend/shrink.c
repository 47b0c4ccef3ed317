/* Descent over classes of equal hyperparameters, smallest class first: each gets the smallest value of a
 * ladder with which the model still parses and has its signatures, until nothing changes. A class never gets
 * smaller than one below it in the original order, so that say a sequence stays within its context. Later
 * classes allow earlier ones to shrink again (width 768 has to be divided by 12 heads before it is divided by
 * 2). */
#include "frontend/shrink.h"

#include "ir/builder.h"

#include <stdlib.h>
#include <string.h>

/* Attributes that are sizes, or numbers that do not change what a node is. */
static bool is_size(col_attr_key key)
{
    static const col_attr_key sizes[] = {COL_ATTR_SHAPE, COL_ATTR_STARTS, COL_ATTR_STOPS,   COL_ATTR_LOW,
                                         COL_ATTR_HIGH,  COL_ATTR_SALT,   COL_ATTR_VARIABLE};
    for (size_t i = 0; i < COL_COUNT(sizes); i++) {
        if (sizes[i] == key) return true;
    }
    return false;
}

static void sign_attr(const col_attr *attr, col_str *out)
{
    if (is_size(attr->key)) return;
    switch (col_attr_kind_of(attr->key)) {
    case COL_KIND_INT:
        col_str_printf(out, " %s=%lld", col_attr_name(attr->key), (long long)attr->int_value);
        break;
    case COL_KIND_TEXT: col_str_printf(out, " %s=%s", col_attr_name(attr->key), attr->text); break;
    case COL_KIND_INTS:
        col_str_printf(out, " %s=", col_attr_name(attr->key));
        for (int i = 0; i < attr->count; i++) col_str_printf(out, "%lld,", (long long)attr->ints[i]);
        break;
    case COL_KIND_FLOAT: col_str_printf(out, " %s", col_attr_name(attr->key)); break;
    }
}

static void sign_type(col_type type, col_str *out)
{
    col_str_printf(out, " %s", col_dtype_name(type.dtype));
    for (int i = 0; i < type.shape.rank; i++) col_str_append(out, type.shape.dims[i] == 1 ? "1" : "n");
}

const char *col_shrink_signature(const col_node *node, col_arena *arena)
{
    col_str text = {0};
    col_str_append(&text, col_op_info_of(node->op)->name);
    for (uint32_t i = 0; i < node->attr_count; i++) sign_attr(&node->attrs[i], &text);
    for (uint32_t i = 0; i < node->operand_count; i++) {
        sign_type(col_node_operand(node, i)->type, &text);
        for (uint32_t j = 0; j < i; j++) {
            if (col_node_operand(node, j) == col_node_operand(node, i)) col_str_printf(&text, "=%u", j);
        }
    }
    col_str_append(&text, " ->");
    for (uint32_t i = 0; i < node->result_count; i++) sign_type(node->results[i].type, &text);
    const char *copy = col_arena_strdup(arena, col_str_text(&text));
    col_str_fini(&text);
    return copy;
}

/* Sizes are cut by a function of the size alone, so that what is equal or 1 stays so. */
const col_node *col_shrink_node(const col_node *node, col_arena *arena)
{
    enum { MOST = 4 };
    col_diags diags = {.arena = arena};
    col_graph *graph = col_graph_create(arena, "small");
    col_builder b = {.graph = graph, .diags = &diags};
    col_value **operands = COL_NEW_ARRAY(arena, col_value *, node->operand_count);
    for (uint32_t i = 0; i < node->operand_count; i++) {
        col_type type = col_node_operand(node, i)->type;
        for (int d = 0; d < type.shape.rank; d++) type.shape.dims[d] = COL_MIN(type.shape.dims[d], MOST);
        for (uint32_t j = 0; j < i; j++) {
            if (col_node_operand(node, j) == col_node_operand(node, i)) operands[i] = operands[j];
        }
        if (operands[i]) continue;
        const char *name = col_arena_printf(arena, "x%u", i);
        operands[i] = col_graph_add_var(graph, COL_VAR_INPUT, name, type, (col_init){0}, (col_loc){0})->value;
    }
    const col_node *made =
        col_build(&b, node->op, node->operand_count, operands, node->attr_count, node->attrs);
    return made && made->result_count == node->result_count ? made : node;
}

static col_map *signatures_of(const col_graph *graph, col_arena *arena)
{
    col_map *set = col_map_create(arena);
    COL_FOR_EACH_NODE (node, graph) col_map_set(set, col_shrink_signature(node, arena), node);
    return set;
}

static bool same_signatures(const col_graph *graph, const col_map *wanted, col_arena *arena)
{
    const col_map *set = signatures_of(graph, arena);
    for (size_t i = 0; i < set->len; i++) {
        if (!col_map_get(wanted, set->entries[i].key)) return false;
    }
    return set->len == wanted->len;
}

/* The integer hyperparameters of a model. */
typedef struct shrinker {
    const col_source *source;
    const col_parse_options *options; /* as the user gave them */
    col_arena *arena;
    const col_setting *settings; /* as they were */
    size_t count;
    int64_t *values; /* as they are now */
    const col_map *signatures;
} shrinker;

static bool is_size_setting(const col_setting *s)
{
    return !s->is_float && s->int_value > 1;
}

/* Parses with the given values; NULL when the model refuses them. Only what changes is set: others may follow
 * from it, and a hyperparameter that nothing reads may not be set. */
static col_graph *parse_with(const shrinker *s, const int64_t *values, col_arena *arena)
{
    col_parse_options options = *s->options;
    col_parse_setting *list = COL_NEW_ARRAY(arena, col_parse_setting, options.setting_count + s->count);
    size_t n = options.setting_count;
    if (n) memcpy(list, options.settings, sizeof *list * n);
    for (size_t i = 0; i < s->count; i++) {
        if (values[i] == s->settings[i].int_value) continue;
        list[n++] =
            (col_parse_setting){s->settings[i].name, col_arena_printf(arena, "%lld", (long long)values[i])};
        if (!strcmp(s->settings[i].name, "batch")) options.batch = values[i];
        if (!strcmp(s->settings[i].name, "seq")) options.seq = values[i];
    }
    options.settings = list;
    options.setting_count = n;
    col_graph *graph = NULL;
    return col_error_ignore(col_parse_model(s->source, &options, arena, &graph)) ? NULL : graph;
}

static bool accepts(const shrinker *s, const int64_t *values)
{
    col_arena *scratch = col_arena_create();
    const col_graph *graph = parse_with(s, values, scratch);
    bool same = graph && same_signatures(graph, s->signatures, scratch);
    col_arena_destroy(scratch);
    return same;
}

/* Tries smaller values for every hyperparameter that was `original`. */
static bool shrink_class(shrinker *s, int64_t original)
{
    static const int64_t ladder[] = {1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512};
    int64_t now = original, least = 1;
    int64_t *trial = COL_NEW_ARRAY(s->arena, int64_t, s->count);
    for (size_t i = 0; i < s->count; i++) {
        if (s->settings[i].int_value == original)
            now = s->values[i];
        else if (is_size_setting(&s->settings[i]) && s->settings[i].int_value < original)
            least = COL_MAX(least, s->values[i]);
    }
    for (size_t step = 0; step < COL_COUNT(ladder) && ladder[step] < now; step++) {
        if (ladder[step] < least) continue;
        for (size_t i = 0; i < s->count; i++) {
            bool member = is_size_setting(&s->settings[i]) && s->settings[i].int_value == original;
            trial[i] = member ? ladder[step] : s->values[i];
        }
        if (!accepts(s, trial)) continue;
        memcpy(s->values, trial, sizeof *trial * s->count);
        return true;
    }
    return false;
}

static int ascending(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static void shrink(shrinker *s)
{
    int64_t *order = COL_NEW_ARRAY(s->arena, int64_t, s->count);
    size_t n = 0;
    for (size_t i = 0; i < s->count; i++) {
        if (is_size_setting(&s->settings[i])) order[n++] = s->settings[i].int_value;
    }
    qsort(order, n, sizeof *order, ascending);
    for (bool changed = true; changed;) {
        changed = false;
        for (size_t i = 0; i < n; i++) {
            if (!i || order[i] != order[i - 1]) changed |= shrink_class(s, order[i]);
        }
    }
}

col_status col_shrink_parse(const col_source *source, const col_parse_options *options, col_arena *arena,
                            col_graph **out_graph, const char **out_settings)
{
    col_graph *whole;
    col_arena *scratch = col_arena_create();
    col_status status = col_parse_model(source, options, scratch, &whole);
    if (status) {
        col_arena_destroy(scratch);
        return status;
    }
    shrinker s = {.source = source,
                  .options = options,
                  .arena = scratch,
                  .settings = whole->settings.data,
                  .count = whole->settings.len};
    s.signatures = signatures_of(whole, scratch);
    s.values = COL_NEW_ARRAY(scratch, int64_t, s.count);
    for (size_t i = 0; i < s.count; i++) s.values[i] = s.settings[i].int_value;
    shrink(&s);
    *out_graph = parse_with(&s, s.values, arena);
    if (!*out_graph) status = col_parse_model(source, options, arena, out_graph);
    col_str text = {0};
    for (size_t i = 0; !status && i < s.count; i++) {
        const col_setting *now = &(*out_graph)->settings.data[i];
        if (now->is_float || now->int_value == s.settings[i].int_value) continue;
        col_str_printf(&text, "%s%s=%lld", text.len ? " " : "", now->name, (long long)now->int_value);
    }
    *out_settings = col_arena_strdup(arena, col_str_text(&text));
    col_str_fini(&text);
    col_arena_destroy(scratch);
    return status;
}
