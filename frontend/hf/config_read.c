/* Goes by the rows of the family's table: each takes its field, says what is wrong with it, or makes settings of
 * it. What is then left among the fields is known to be harmless, or noted. */
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <string.h>

#include "frontend/hf/config.h"

enum { LONGEST_VALUE = 60 };

typedef struct reader {
    const char *name;
    col_arena *arena;
    const json_t *root;
    col_hf_config *out;
    col_str faults;
} reader;

static void fault(reader *r, const char *format, ...) COL_PRINTF(2, 3);
static void fault(reader *r, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    col_str_append(&r->faults, "\n  ");
    col_str_vprintf(&r->faults, format, args);
    va_end(args);
}

/* As the tables write values; of texts the beginning. */
static const char *value_text(const json_t *value, col_arena *arena)
{
    switch (json_typeof(value)) {
    case JSON_STRING: return col_arena_printf(arena, "%.*s", LONGEST_VALUE, json_string_value(value));
    case JSON_INTEGER: return col_arena_printf(arena, "%" PRId64, (int64_t)json_integer_value(value));
    case JSON_REAL: return col_arena_printf(arena, "%g", json_real_value(value));
    case JSON_TRUE: return "true";
    case JSON_FALSE: return "false";
    case JSON_NULL: return "null";
    case JSON_OBJECT: return json_object_size(value) ? "{...}" : "{}";
    case JSON_ARRAY: return json_array_size(value) ? "[...]" : "[]";
    }
    return "";
}

/* The word's place in "a|b|c", or -1. */
static int find_word(const char *words, const char *word)
{
    size_t size = strlen(word);
    for (int i = 0; words; i++) {
        const char *end = strchr(words, '|');
        size_t length = end ? (size_t)(end - words) : strlen(words);
        if (length == size && !memcmp(words, word, size)) return i;
        words = end ? end + 1 : NULL;
    }
    return -1;
}

/* "a", "b" or "c" for people. */
static const char *words_text(const char *words, col_arena *arena)
{
    const char *text = "", *separator = "";
    while (words) {
        const char *end = strchr(words, '|');
        int length = end ? (int)(end - words) : (int)strlen(words);
        text = col_arena_printf(arena, "%s%s%.*s", text, separator, length, words);
        separator = " or ";
        words = end ? end + 1 : NULL;
    }
    return text;
}

static void set_int(reader *r, const char *name, int64_t value)
{
    col_setting setting = {.name = name, .int_value = value};
    col_vec_push(r->arena, &r->out->settings, setting);
}

static void set_real(reader *r, const char *name, double value)
{
    col_setting setting = {.name = name, .float_value = value, .is_float = true};
    col_vec_push(r->arena, &r->out->settings, setting);
}

/* A whole number within the field's bounds. */
static bool read_size(reader *r, const col_hf_field *f, const json_t *value, int64_t *out)
{
    bool fine = json_is_integer(value) && (double)json_integer_value(value) >= f->low &&
                (double)json_integer_value(value) <= f->high;
    if (fine)
        *out = json_integer_value(value);
    else
        fault(r, "'%s' is %s: it must be a whole number from %.0f to %.0f", f->key,
              value_text(value, r->arena), f->low, f->high);
    return fine;
}

static bool read_real(reader *r, const col_hf_field *f, const json_t *value, double *out)
{
    *out = json_number_value(value);
    bool fine = json_is_number(value) && *out >= f->low && *out <= f->high;
    if (!fine) {
        fault(r, "'%s' is %s: it must be a number from %g to %g", f->key, value_text(value, r->arena), f->low,
              f->high);
    }
    return fine;
}

/* Two equal sizes of an image may stand for one. */
static const json_t *one_of_pair(const json_t *value)
{
    const json_t *first = json_array_get(value, 0);
    return json_array_size(value) == 2 && json_equal(first, json_array_get(value, 1)) ? first : value;
}

static void take_size(reader *r, const col_hf_field *f, const json_t *value)
{
    int64_t size = 0;
    if (!value || (json_is_null(value) && isnan(f->fallback))) {
        if (!isnan(f->fallback)) set_int(r, f->setting, (int64_t)f->fallback);
    } else if (read_size(r, f, one_of_pair(value), &size)) {
        set_int(r, f->setting, size);
    }
}

static void take_real(reader *r, const col_hf_field *f, const json_t *value)
{
    double real = f->fallback;
    if (!value || read_real(r, f, value, &real)) set_real(r, f->setting, real);
}

static void take_flag(reader *r, const col_hf_field *f, const json_t *value)
{
    if (value && !json_is_boolean(value))
        fault(r, "'%s' is %s: it must be true or false", f->key, value_text(value, r->arena));
    else
        set_int(r, f->setting, value ? json_is_true(value) : (int64_t)f->fallback);
}

static void take_list(reader *r, const col_hf_field *f, const json_t *value)
{
    enum { PARTS = 4 };
    if (json_array_size(value) != PARTS) {
        fault(r, "'%s' is %s: it must be a list of %d sizes", f->key,
              value ? value_text(value, r->arena) : "missing", PARTS);
        return;
    }
    for (size_t i = 0; i < PARTS; i++) {
        int64_t size = 0;
        if (!read_size(r, f, json_array_get(value, i), &size)) return;
        set_int(r, col_arena_printf(r->arena, "%s%zu", f->setting, i + 1), size);
    }
}

static void take_word(reader *r, const col_hf_field *f, const json_t *value)
{
    bool is_fixed = f->rule == COL_HF_FIXED;
    int index = value ? find_word(f->words, value_text(value, r->arena)) : is_fixed ? 0 : (int)f->fallback;
    if (index < 0) {
        fault(r, "'%s' is %s: it must be %s", f->key, value_text(value, r->arena),
              words_text(f->words, r->arena));
    } else if (!is_fixed) {
        set_int(r, f->setting, index);
    }
}

/* transformers keeps the names of labels only where they are not two without names. */
static void take_labels(reader *r, const col_hf_field *f, const json_t *value)
{
    const json_t *count = json_object_get(r->root, "num_labels");
    int64_t labels = (int64_t)f->fallback;
    if (!r->out->class->has_labels) {
        labels = 0;
    } else if (json_is_object(value)) {
        labels = (int64_t)json_object_size(value);
    } else if (value && !json_is_null(value)) {
        fault(r, "'%s' is %s: it must be an object with a member for each label", f->key,
              value_text(value, r->arena));
    } else if (count) {
        col_hf_field row = *f;
        row.key = "num_labels";
        if (!read_size(r, &row, count, &labels)) return;
    }
    if (r->out->class->has_labels && labels < 2)
        fault(r, "'%s' has %" PRId64 " labels: a loss for less than two is not supported", f->key, labels);
    set_int(r, f->setting, labels);
}

static void take_same(reader *r, const col_hf_field *f, const json_t *value)
{
    const col_setting *same = col_hf_setting_find(r->out->settings.data, r->out->settings.len, f->setting);
    double real = 0;
    if (!value || json_is_null(value) || !same || !read_real(r, f, value, &real)) return;
    if (real != same->float_value)
        fault(r, "'%s' is %g: it must be %g like the other dropout rate", f->key, real, same->float_value);
}

static void take_field(reader *r, const col_hf_field *f)
{
    const json_t *value = json_object_get(r->root, f->key);
    const json_t *other = f->other ? json_object_get(r->root, f->other) : NULL;
    if (value && other && !json_equal(value, other))
        fault(r, "'%s' and '%s' are one field, and differ: remove one", f->key, f->other);
    if (!value) value = other;
    switch (f->rule) {
    case COL_HF_SIZE: take_size(r, f, value); break;
    case COL_HF_REAL: take_real(r, f, value); break;
    case COL_HF_FLAG: take_flag(r, f, value); break;
    case COL_HF_LIST: take_list(r, f, value); break;
    case COL_HF_WORD:
    case COL_HF_FIXED: take_word(r, f, value); break;
    case COL_HF_LABEL: take_labels(r, f, value); break;
    case COL_HF_SAME: take_same(r, f, value); break;
    }
}

static void check_division(reader *r)
{
    const col_hf_family *family = r->out->family;
    if (!family->part) return;
    const col_setting *settings = r->out->settings.data;
    const col_setting *part = col_hf_setting_find(settings, r->out->settings.len, family->part);
    const col_setting *whole = col_hf_setting_find(settings, r->out->settings.len, family->whole);
    if (part && whole && whole->int_value % part->int_value)
        fault(r, "%" PRId64 " attention heads do not divide a width of %" PRId64, part->int_value,
              whole->int_value);
}

static bool has_row(const col_hf_field *fields, size_t count, const char *key)
{
    for (size_t i = 0; i < count; i++) {
        if (!strcmp(fields[i].key, key) || (fields[i].other && !strcmp(fields[i].other, key))) return true;
    }
    return false;
}

static void note_unknown(reader *r)
{
    enum { NAMED = 20 };
    const col_hf_family *family = r->out->family;
    const char *key, *text = NULL;
    json_t *value;
    size_t count = 0;
    json_object_foreach((json_t *)(uintptr_t)r->root, key, value)
    {
        if (has_row(family->fields, family->field_count, key) || col_hf_is_harmless(key) ||
            has_row(col_hf_common_fields, col_hf_common_field_count, key) || count++ >= NAMED)
            continue;
        text =
            col_arena_printf(r->arena, "%s%s'%.*s'", text ? text : "", text ? ", " : "", LONGEST_VALUE, key);
    }
    r->out->unknown = count > NAMED ? col_arena_printf(r->arena, "%s, ...", text) : text;
}

static col_status find_family(reader *r)
{
    const json_t *type = json_object_get(r->root, "model_type");
    const char *name = json_string_value(type);
    r->out->family = name ? col_hf_family_find(name) : NULL;
    if (r->out->family) return NULL;
    return col_error_make(COL_BAD_INPUT, "%s: 'model_type' is %s; supported are %s", r->name,
                          type ? value_text(type, r->arena) : "missing", col_hf_family_names(r->arena));
}

/* The first class that is known; of a file that names none, the family's first. */
static col_status find_class(reader *r)
{
    const col_hf_family *family = r->out->family;
    const json_t *names = json_object_get(r->root, "architectures");
    const char *known = "";
    if (!json_array_size(names) && (!names || json_is_null(names) || json_is_array(names))) {
        r->out->class = &family->classes[0];
        return NULL;
    }
    for (size_t i = 0; i < family->class_count; i++) {
        const col_hf_class *class = &family->classes[i];
        known = col_arena_printf(r->arena, "%s%s%s", known, i ? ", " : "", class->name);
        for (size_t k = 0; k < json_array_size(names) && !r->out->class; k++) {
            const char *name = json_string_value(json_array_get(names, k));
            if (name && !strcmp(name, class->name)) r->out->class = class;
        }
    }
    if (r->out->class) return NULL;
    const json_t *first = json_array_get(names, 0);
    return col_error_make(
        COL_BAD_INPUT,
        "%s: 'architectures' is %s; supported of %s are %s: load the model as one of these in "
        "transformers and save it",
        r->name, value_text(first ? first : names, r->arena), family->name, known);
}

static col_status read_root(reader *r)
{
    COL_TRY(find_family(r));
    COL_TRY(find_class(r));
    const col_hf_family *family = r->out->family;
    for (size_t i = 0; i < col_hf_common_field_count; i++) take_field(r, &col_hf_common_fields[i]);
    for (size_t i = 0; i < family->field_count; i++) take_field(r, &family->fields[i]);
    if (!r->faults.len) check_division(r);
    note_unknown(r);
    if (!r->faults.len) return NULL;
    return col_error_make(COL_BAD_INPUT,
                          "%s: this %s is not supported:%s\n(docs/huggingface.md lists what is)", r->name,
                          family->name, col_str_text(&r->faults));
}

col_status col_hf_config_read(const char *name, const char *bytes, size_t size, col_arena *arena,
                              col_hf_config *out)
{
    json_error_t error;
    *out = (col_hf_config){0};
    if (size > COL_HF_CONFIG_BYTES) {
        return col_error_make(COL_BAD_INPUT, "%s: %zu bytes are too many for a config.json; at most %d", name,
                              size, COL_HF_CONFIG_BYTES);
    }
    json_t *root = json_loadb(bytes, size, JSON_REJECT_DUPLICATES, &error);
    if (!root) {
        return col_error_make(COL_BAD_INPUT, "%s:%d:%d: %s; download or save the model again", name,
                              error.line, error.column, error.text);
    }
    reader r = {.name = name, .arena = arena, .root = root, .out = out};
    col_status status =
        json_is_object(root)
            ? read_root(&r)
            : col_error_make(COL_BAD_INPUT, "%s: this is no object of fields; is it a config.json?", name);
    col_str_fini(&r.faults);
    json_decref(root);
    return status;
}

const col_setting *col_hf_setting_find(const col_setting *settings, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (!strcmp(settings[i].name, name)) return &settings[i];
    }
    return NULL;
}
