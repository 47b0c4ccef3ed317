/* config.json of Hugging Face: to the settings of a model's text, and back. */
#ifndef COL_HF_CONFIG_H
#define COL_HF_CONFIG_H

#include "frontend/hf/family.h"
#include "ir/graph.h"

enum { COL_HF_CONFIG_BYTES = 16 << 20 }; /* what a config.json may have */

typedef struct col_hf_config {
    const col_hf_family *family;
    const col_hf_class *class;
    COL_VEC(col_setting) settings; /* of the text; what is not there keeps the text's default */
    const char *unknown;           /* "'a', 'b'": fields that no row knows; NULL: none */
} col_hf_config;

/* Reads the bytes of a config.json; `name` is for messages. All is in `arena`. COL_BAD_INPUT for JSON that is
 * damaged or has a key twice, for a model or a class that no text computes, and, all at once, for fields with
 * values that are absurd or that the text does not compute. */
COL_MUST_USE col_status col_hf_config_read(const char *name, const char *bytes, size_t size, col_arena *arena,
                                           col_hf_config *out);

/* The text of a config.json for a model with these settings, in `arena`. `base` is one to start from, whose other
 * fields stay (NULL: none); its family must be the same. `dtype` is the weights', "float32". What is written
 * reads back as the same settings; a model for which that cannot be is refused. */
COL_MUST_USE col_status col_hf_config_write(const col_hf_family *family, const col_setting *settings,
                                            size_t setting_count, const char *base, const char *dtype,
                                            col_arena *arena, const char **out_text);

/* NULL when there is none of that name. */
const col_setting *col_hf_setting_find(const col_setting *settings, size_t count, const char *name);

#endif
