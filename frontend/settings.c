/* Hyperparameters: the header's defaults, and what --set, --batch and --seq put in their place. */
#include "frontend/elaborate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* An override of one hyperparameter. */
typedef struct override {
    const char *flag, *key, *value;
} override;

typedef COL_VEC(override) override_list;

static override_list collect_overrides(col_elab *e)
{
    override_list list = {0};
    for (size_t i = 0; i < e->options->setting_count; i++) {
        const col_parse_setting *s = &e->options->settings[i];
        override o = {col_arena_printf(e->scratch, "--set %s=%s", s->key, s->value), s->key, s->value};
        col_vec_push(e->scratch, &list, o);
    }
    const struct {
        const char *key;
        int64_t value;
    } sizes[] = {{"batch", e->options->batch}, {"seq", e->options->seq}};
    for (size_t i = 0; i < COL_COUNT(sizes); i++) {
        if (!sizes[i].value) continue;
        const char *value = col_arena_printf(e->scratch, "%lld", (long long)sizes[i].value);
        override o = {col_arena_printf(e->scratch, "--%s %s", sizes[i].key, value), sizes[i].key, value};
        col_vec_push(e->scratch, &list, o);
    }
    return list;
}

static const override *find_override(const override_list *list, const char *key)
{
    for (size_t i = list->len; i-- > 0;) {
        if (!strcmp(list->data[i].key, key)) return &list->data[i];
    }
    return NULL;
}

static void report_unknown(col_elab *e, const override *o)
{
    uint32_t count = e->syntax->setting_count;
    const char **names = COL_NEW_ARRAY(e->scratch, const char *, count);
    col_str all = {0};
    for (uint32_t i = 0; i < count; i++) {
        names[i] = e->syntax->settings[i].symbol->name;
        col_str_printf(&all, "%s%s", i ? ", " : "", names[i]);
    }
    const char *suggestion = col_elab_suggestion(e, o->key, names, count);
    col_diag_add(e->diags, e->syntax->loc, "%s: model '%s' has no hyperparameter '%s'%s%s", o->flag,
                 e->graph->name, o->key, *suggestion ? suggestion : "; it has ",
                 *suggestion ? ""
                 : count     ? col_str_text(&all)
                             : "none");
    col_str_fini(&all);
}

/* The override's value as the kind of number that the default is. */
static bool parse_override(col_elab *e, const override *o, const col_datum *fallback, col_datum *out)
{
    if (fallback->kind == COL_DATUM_INT) {
        int64_t value = 0;
        col_status status = col_parse_int(o->flag, o->value, INT64_MIN, INT64_MAX, &value);
        if (status) col_diag_add(e->diags, e->syntax->loc, "%s", col_error_message(status));
        *out = col_datum_int(value);
        return !col_error_ignore(status);
    }
    double value = 0;
    col_status status =
        col_parse_double(o->flag, o->value, -1.7976931348623157e308, 1.7976931348623157e308, &value);
    if (status) col_diag_add(e->diags, e->syntax->loc, "%s", col_error_message(status));
    *out = col_datum_float(value);
    return !col_error_ignore(status);
}

void col_elab_settings(col_elab *e)
{
    override_list overrides = collect_overrides(e);
    for (uint32_t i = 0; i < e->syntax->setting_count; i++) {
        const col_parameter *p = &e->syntax->settings[i];
        col_datum datum;
        bool fine = col_eval(e, p->fallback, &datum);
        if (fine && !col_datum_is_number(&datum)) {
            col_elab_fault(e, p->loc, "hyperparameter '%s' must be a number; this is %s", p->symbol->name,
                           col_datum_describe(&datum));
            fine = false;
        }
        const override *o = find_override(&overrides, p->symbol->name);
        if (fine && o) fine = parse_override(e, o, &datum, &datum);
        if (!fine) datum = (col_datum){.kind = COL_DATUM_BAD};
        col_elab_bind(e, p->symbol, datum);
        col_binding *binding = &e->globals.data[p->symbol->index];
        binding->fixed = true;
        binding->setting = (int32_t)i + 1;
        col_setting setting = {.name = p->symbol->name,
                               .int_value = datum.int_value,
                               .float_value = datum.float_value,
                               .is_float = datum.kind == COL_DATUM_FLOAT};
        col_vec_push(e->graph->arena, &e->graph->settings, setting);
    }
    for (size_t i = 0; i < overrides.len; i++) {
        bool known = false;
        for (uint32_t j = 0; j < e->syntax->setting_count && !known; j++) {
            known = !strcmp(e->syntax->settings[j].symbol->name, overrides.data[i].key);
        }
        if (!known) report_unknown(e, &overrides.data[i]);
    }
}

void col_elab_settings_check(col_elab *e)
{
    override_list overrides = collect_overrides(e);
    for (uint32_t i = 0; i < e->syntax->setting_count; i++) {
        const col_parameter *p = &e->syntax->settings[i];
        const override *o = find_override(&overrides, p->symbol->name);
        if (!o || e->setting_read[i]) continue;
        col_diag_add(
            e->diags, p->loc,
            "%s has no effect: nothing in this model reads '%s'; set it where the model's shapes are "
            "still written with it",
            o->flag, p->symbol->name);
    }
}
