/* What a folder of Hugging Face is judged by, by the input's first byte. 'c': a config.json is refused, or makes a text.
 * 'g': also, unless the model is a large one, the text parses, and the settings are written as a config.json that is
 * read; this takes a hundred times as long. 'i': an index is refused, or has names of files that stay in their folder. */
#include <string.h>

#include "frontend/hf/config.h"
#include "frontend/hf/text.h"
#include "frontend/parse.h"
#include "runtime/store/safetensors_parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int64_t value_of(const col_graph *graph, const char *name)
{
    const col_setting *setting = col_hf_setting_find(graph->settings.data, graph->settings.len, name);
    return setting ? setting->int_value : 0;
}

static bool is_large(const col_hf_config *config)
{
    static const char *const counts[] = {"layers", "layers1", "layers2", "layers3", "layers4"};
    for (size_t i = 0; i < COL_COUNT(counts); i++) {
        const col_setting *s = col_hf_setting_find(config->settings.data, config->settings.len, counts[i]);
        if (s && s->int_value > 2) return true;
    }
    return false;
}

/* A graph has all settings, also those that config.json leaves to the text. */
static void check_back(const col_hf_config *config, const col_graph *graph, col_arena *arena)
{
    const char *text;
    col_hf_config back;
    col_status status = col_hf_config_write(config->family, graph->settings.data, graph->settings.len, NULL,
                                            "float32", arena, &text);
    if (!status) status = col_hf_config_read("back", text, strlen(text), arena, &back);
    if (status) COL_PANIC("%s", col_error_message(status));
    COL_ASSERT(back.family == config->family && value_of(graph, "classes") >= 0);
}

static void check_config(const char *bytes, size_t size, bool parses, col_arena *arena)
{
    col_hf_config config;
    if (col_error_ignore(col_hf_config_read("fuzz", bytes, size, arena, &config))) return;
    const char *text = col_hf_text(config.family, config.settings.data, config.settings.len, arena);
    COL_ASSERT(text && config.class);
    if (!parses || is_large(&config)) return;
    col_source source = {"model.ir", text, strlen(text)};
    col_graph *graph;
    if (col_error_ignore(col_parse_model(&source, NULL, arena, &graph)))
        return; /* shapes beyond all bounds */
    check_back(&config, graph, arena);
}

static void check_index(const char *bytes, size_t size, col_arena *arena)
{
    col_safetensors_index index;
    if (col_error_ignore(col_safetensors_index_parse(arena, "fuzz", bytes, size, &index))) return;
    COL_ASSERT(index.files.len <= index.owners->len);
    for (size_t i = 0; i < index.files.len; i++) {
        const char *name = index.files.data[i];
        COL_ASSERT(*name && *name != '/' && strcmp(name, "..") && strncmp(name, "../", 3));
        COL_ASSERT(!strstr(name, "/../") && strlen(name) >= strlen(".safetensors"));
    }
    for (size_t i = 0; i < index.owners->len; i++) COL_ASSERT(index.owners->entries[i].value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size) return 0;
    col_arena *arena = col_arena_create();
    if (*data == 'c' || *data == 'g') check_config((const char *)data + 1, size - 1, *data == 'g', arena);
    if (*data == 'i') check_index((const char *)data + 1, size - 1, arena);
    col_arena_destroy(arena);
    return 0;
}
