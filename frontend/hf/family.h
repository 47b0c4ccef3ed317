/* What is known of Hugging Face's models, as tables: which classes have a text here, and what each field of their
 * config.json means to it. The reader and the writer of config.json (config.h) both go by these rows. */
#ifndef COL_HF_FAMILY_H
#define COL_HF_FAMILY_H

#include "ir/base/arena.h"

typedef enum col_hf_rule {
    COL_HF_SIZE, /* a whole number; null, or a field that is absent with no fallback, leaves the text's default */
    COL_HF_REAL,  /* a number */
    COL_HF_FLAG,  /* true or false: 1 or 0 */
    COL_HF_LIST,  /* four whole numbers, required: the settings NAME1 to NAME4 */
    COL_HF_WORD,  /* one of the words of `words`: its index */
    COL_HF_LABEL, /* how many labels there are: `id2label` has one member for each */
    COL_HF_SAME,  /* a number that must be that of the setting, or null */
    COL_HF_FIXED, /* one of the words of `words`, as JSON writes them: the text computes nothing else */
} col_hf_rule;

typedef struct col_hf_field {
    const char *key; /* in config.json */
    col_hf_rule rule;
    const char *setting; /* the text's hyperparameter; NULL: none */
    const char *words; /* of WORD and FIXED: "relu|gelu"; of FIXED the first is what an absent field means */
    double fallback;   /* what an absent field means; NAN: the text's default */
    double low, high;  /* that a number must be within */
    const char *other; /* a second name that transformers reads it under; or NULL */
} col_hf_field;

/* A class of transformers that a text computes. */
typedef struct col_hf_class {
    const char *name; /* in `architectures` */
    bool has_labels;  /* a classifier: rows with COL_HF_LABEL apply; else the setting is 0 */
    bool is_written;  /* exported models are of this class */
} col_hf_class;

typedef struct col_hf_family {
    const char *name; /* `model_type`, and the name of the text's model */
    const char *text; /* of models/NAME.ir */
    const col_hf_class *classes;
    size_t class_count;
    const col_hf_field *fields;
    size_t field_count;
    const char *part, *whole; /* settings, of which the first must divide the second */
    const char *prefix;       /* of parameters in Hugging Face's files, where the text's lack it */
    const char *without;      /* a setting that must be 0: nothing of transformers has its like; or NULL */
} col_hf_family;

/* NULL when there is none of that name. */
const col_hf_family *col_hf_family_find(const char *name);
/* "bert, gpt2, ...". */
const char *col_hf_family_names(col_arena *arena);

/* Fields that every config.json may have: those that change numbers, and then names of those that do not. */
extern const col_hf_field col_hf_common_fields[];
extern const size_t col_hf_common_field_count;
bool col_hf_is_harmless(const char *key);

#endif
