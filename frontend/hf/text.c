/* A header is "model NAME(key = expr, ...)": the text between a key's `=` and the comma that ends it is replaced. */
#include "frontend/hf/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "frontend/hf/config.h"

static void append_value(col_str *out, const col_setting *setting)
{
    char text[40];
    if (!setting->is_float) {
        col_str_printf(out, "%" PRId64, setting->int_value);
        return;
    }
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, setting->float_value);
        if (strtod(text, NULL) == setting->float_value) break;
    }
    /* A whole number would make the hyperparameter one. */
    col_str_printf(out, "%s%s", text, strpbrk(text, ".en") ? "" : ".0");
}

/* The comma or bracket that ends the expression. */
static const char *expression_end(const char *at)
{
    for (int depth = 0; depth || (*at != ',' && *at != ')'); at++) {
        COL_ASSERT(*at);
        depth += (*at == '(') - (*at == ')');
    }
    return at;
}

/* Copies the header's parameters up to the closing bracket; returns how many of the settings it met. */
static size_t append_parameters(const char **at, const col_setting *settings, size_t count, col_str *out)
{
    size_t met = 0;
    for (const char *p = *at;;) {
        size_t space = strspn(p, ", \n");
        col_str_append_bytes(out, p, space);
        p += space;
        size_t size = strcspn(p, " ");
        char key[40];
        COL_ASSERT(size < sizeof key);
        memcpy(key, p, size);
        key[size] = '\0';
        const char *end = expression_end(p);
        const col_setting *setting = col_hf_setting_find(settings, count, key);
        if (setting) {
            col_str_printf(out, "%s = ", key);
            append_value(out, setting);
            met++;
        } else {
            col_str_append_bytes(out, p, (size_t)(end - p));
        }
        *at = p = end;
        if (*p == ')') return met;
    }
}

const char *col_hf_text(const col_hf_family *family, const col_setting *settings, size_t count,
                        col_arena *arena)
{
    const char *opening = col_arena_printf(arena, "\nmodel %s(", family->name);
    const char *at = strstr(family->text, opening);
    COL_ASSERT(at);
    at += strlen(opening);
    col_str out = {0};
    col_str_append_bytes(&out, family->text, (size_t)(at - family->text));
    size_t met = append_parameters(&at, settings, count, &out);
    col_str_append(&out, at);
    const char *text = met == count ? col_arena_strdup(arena, col_str_text(&out)) : NULL;
    col_str_fini(&out);
    return text;
}
