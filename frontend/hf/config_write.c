/* The rows of the family's table the other way: each writes its field. The result is read back and compared, so
 * that no setting is lost. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "frontend/hf/config.h"

typedef struct writer {
    const col_hf_family *family;
    const col_setting *settings;
    size_t setting_count;
    const col_hf_class *class;
    col_arena *arena;
    json_t *root;
} writer;

static const col_setting *find(const writer *w, const char *name)
{
    const col_setting *s = col_hf_setting_find(w->settings, w->setting_count, name);
    COL_ASSERT(s); /* the model's text was compared with the family's */
    return s;
}

/* Takes the value. */
static void put(writer *w, const char *key, json_t *value)
{
    if (!value || json_object_set_new(w->root, key, value)) col_out_of_memory(0);
}

static json_t *list_value(const writer *w, const char *setting)
{
    enum { PARTS = 4 };
    json_t *list = json_array();
    for (int i = 1; i <= PARTS; i++) {
        const col_setting *s = find(w, col_arena_printf(w->arena, "%s%d", setting, i));
        json_array_append_new(list, json_integer(s->int_value));
    }
    return list;
}

/* Word number `index` of "a|b|c" as text. */
static const char *word_at(const writer *w, const char *words, int64_t index)
{
    while (index-- > 0) {
        const char *end = strchr(words, '|');
        COL_ASSERT(end);
        words = end + 1;
    }
    return col_arena_strndup(w->arena, words, strcspn(words, "|"));
}

/* A word of a table as the JSON that it stands for. */
static json_t *word_value(const char *word)
{
    json_t *value = json_loads(word, JSON_DECODE_ANY, NULL);
    return value ? value : json_string(word);
}

/* Names of labels that are there already stay when they are as many. */
static void put_labels(writer *w, int64_t count)
{
    if (!w->class->has_labels || (int64_t)json_object_size(json_object_get(w->root, "id2label")) == count)
        return;
    json_t *names = json_object(), *ids = json_object();
    for (int64_t i = 0; i < count; i++) {
        const char *id = col_arena_printf(w->arena, "%lld", (long long)i);
        const char *name = col_arena_printf(w->arena, "LABEL_%s", id);
        json_object_set_new(names, id, json_string(name));
        json_object_set_new(ids, name, json_integer(i));
    }
    put(w, "id2label", names);
    put(w, "label2id", ids);
    json_object_del(w->root, "num_labels");
}

static void put_field(writer *w, const col_hf_field *f)
{
    const json_t *there = json_object_get(w->root, f->key);
    if (f->other) json_object_del(w->root, f->other);
    switch (f->rule) {
    case COL_HF_SIZE: put(w, f->key, json_integer(find(w, f->setting)->int_value)); break;
    case COL_HF_REAL: put(w, f->key, json_real(find(w, f->setting)->float_value)); break;
    case COL_HF_FLAG: put(w, f->key, json_boolean(find(w, f->setting)->int_value)); break;
    case COL_HF_LIST: put(w, f->key, list_value(w, f->setting)); break;
    case COL_HF_WORD:
        put(w, f->key, json_string(word_at(w, f->words, find(w, f->setting)->int_value)));
        break;
    case COL_HF_FIXED:
        if (!there) put(w, f->key, word_value(word_at(w, f->words, 0)));
        break;
    case COL_HF_LABEL: put_labels(w, find(w, f->setting)->int_value); break;
    case COL_HF_SAME:
        if (!there || !json_is_null(there)) put(w, f->key, json_real(find(w, f->setting)->float_value));
        break;
    }
}

static const col_hf_class *find_class(const writer *w)
{
    const col_setting *classes = col_hf_setting_find(w->settings, w->setting_count, "classes");
    bool has_labels = classes && classes->int_value;
    for (size_t i = 0; i < w->family->class_count; i++) {
        const col_hf_class *class = &w->family->classes[i];
        if (class->is_written && class->has_labels == has_labels) return class;
    }
    return NULL;
}

static bool same_value(const col_setting *a, const col_setting *b)
{
    if (a->is_float != b->is_float) return false;
    return a->is_float ? a->float_value == b->float_value : a->int_value == b->int_value;
}

/* Whether the text reads back as the settings; `*out_lost` is the first that does not. */
static col_status read_back(const writer *w, const char *text, const char **out_lost)
{
    col_hf_config config;
    *out_lost = NULL;
    COL_TRY(col_hf_config_read("the config.json to be written", text, strlen(text), w->arena, &config));
    for (size_t i = 0; i < config.settings.len && !*out_lost; i++) {
        const col_setting *s = &config.settings.data[i];
        if (!same_value(s, find(w, s->name))) *out_lost = s->name;
    }
    return NULL;
}

/* Numbers with few digits where these are the same numbers. */
static col_status print(const writer *w, const char **out_text)
{
    static const size_t digits[] = {15, 17};
    const char *lost = NULL;
    for (size_t i = 0; i < COL_COUNT(digits); i++) {
        char *text = json_dumps(w->root, JSON_INDENT(2) | JSON_SORT_KEYS | JSON_REAL_PRECISION(digits[i]));
        if (!text) col_out_of_memory(0);
        *out_text = col_arena_printf(w->arena, "%s\n", text);
        free(text);
        COL_TRY(read_back(w, *out_text, &lost));
        if (!lost) return NULL;
    }
    return col_error_make(
        COL_BAD_INPUT,
        "the model's setting '%s' is one that a config.json of %s cannot say: give it a value "
        "that transformers has",
        lost, w->family->name);
}

static col_status write_fields(writer *w, const char *dtype, const char **out_text)
{
    const col_setting *without = w->family->without ? find(w, w->family->without) : NULL;
    w->class = find_class(w);
    if (!w->class || (without && without->int_value)) {
        return col_error_make(COL_BAD_INPUT, "transformers has no %s with %s = %lld: it cannot be exported",
                              w->family->name, w->class ? without->name : "classes",
                              w->class ? (long long)without->int_value : 0);
    }
    put(w, "model_type", json_string(w->family->name));
    put(w, "architectures", json_pack("[s]", w->class->name));
    if (json_object_get(w->root, "torch_dtype")) put(w, "torch_dtype", json_string(dtype));
    put(w, "dtype", json_string(dtype));
    for (size_t i = 0; i < w->family->field_count; i++) put_field(w, &w->family->fields[i]);
    return print(w, out_text);
}

col_status col_hf_config_write(const col_hf_family *family, const col_setting *settings, size_t setting_count,
                               const char *base, const char *dtype, col_arena *arena, const char **out_text)
{
    writer w = {.family = family, .settings = settings, .setting_count = setting_count, .arena = arena};
    w.root = base ? json_loads(base, JSON_REJECT_DUPLICATES, NULL) : json_object();
    COL_ASSERT(w.root); /* the base was read before */
    col_status status = write_fields(&w, dtype, out_text);
    json_decref(w.root);
    return status;
}
