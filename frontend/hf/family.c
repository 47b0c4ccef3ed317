#include "frontend/hf/family.h"

#include <math.h>
#include <string.h>

/* The texts, as the build found them in models/. */
static const char gpt2_text[] =
#include "frontend/hf/gpt2.ir.inc"
    ;
static const char opt_text[] =
#include "frontend/hf/opt.ir.inc"
    ;
static const char bert_text[] =
#include "frontend/hf/bert.ir.inc"
    ;
static const char vit_text[] =
#include "frontend/hf/vit.ir.inc"
    ;
static const char resnet_text[] =
#include "frontend/hf/resnet.ir.inc"
    ;

/* Beyond these a model is absurd rather than large. */
#define MOST_WIDTH  1048576
#define MOST_ROWS   134217728
#define MOST_LAYERS 4096

/* clang-format off */
#define SIZE(key, setting, fallback, most)  {key, COL_HF_SIZE, setting, NULL, fallback, 1, most, NULL}
#define NAME(key, setting, fallback, most, other) {key, COL_HF_SIZE, setting, NULL, fallback, 1, most, other}
#define REAL(key, setting, fallback)        {key, COL_HF_REAL, setting, NULL, fallback, 0, 1, NULL}
#define RATE(key, setting, fallback)        {key, COL_HF_REAL, setting, NULL, fallback, 0, 0.999999, NULL}
#define SAME(key, setting)                  {key, COL_HF_SAME, setting, NULL, NAN, 0, 1, NULL}
#define FLAG(key, setting, fallback)        {key, COL_HF_FLAG, setting, NULL, fallback, 0, 1, NULL}
#define LIST(key, setting, most)            {key, COL_HF_LIST, setting, NULL, NAN, 1, most, NULL}
#define WORD(key, setting, words, fallback) {key, COL_HF_WORD, setting, words, fallback, 0, 0, NULL}
#define FIXED(key, words)                   {key, COL_HF_FIXED, NULL, words, NAN, 0, 0, NULL}
#define LABELS                              {"id2label", COL_HF_LABEL, "classes", NULL, 2, 1, MOST_ROWS, NULL}

const col_hf_field col_hf_common_fields[] = {
    FIXED("quantization_config", "null"),
    FIXED("pruned_heads", "{}|null"),
    FIXED("is_encoder_decoder", "false"),
    FIXED("problem_type", "null|single_label_classification"),
};
const size_t col_hf_common_field_count = COL_COUNT(col_hf_common_fields);

/* Upcasting attention to fp32 changes nothing here, where it is computed in fp32. The tanh forms of GELU are one
 * formula. */
static const col_hf_field gpt2_fields[] = {
    SIZE("vocab_size", "vocab", 50257, MOST_ROWS),
    NAME("n_positions", "context", 1024, MOST_ROWS, "max_position_embeddings"),
    NAME("n_embd", "width", 768, MOST_WIDTH, "hidden_size"),
    NAME("n_layer", "layers", 12, MOST_LAYERS, "num_hidden_layers"),
    NAME("n_head", "heads", 12, MOST_WIDTH, "num_attention_heads"),
    SIZE("n_inner", "inner", NAN, MOST_WIDTH),
    FIXED("activation_function", "gelu_new|gelu_pytorch_tanh|gelu_fast"),
    REAL("layer_norm_epsilon", "eps", 1e-5),
    RATE("resid_pdrop", "dropout", 0.1),
    SAME("embd_pdrop", "dropout"),
    RATE("attn_pdrop", "attention_dropout", 0.1),
    FIXED("scale_attn_weights", "true"),
    FIXED("scale_attn_by_inverse_layer_idx", "false"),
    FIXED("reorder_and_upcast_attn", "false|true"),
    FIXED("add_cross_attention", "false"),
    FIXED("tie_word_embeddings", "true"),
};
static const col_hf_class gpt2_classes[] = {{"GPT2LMHeadModel", false, true}, {"GPT2Model", false, false}};

static const col_hf_field opt_fields[] = {
    SIZE("vocab_size", "vocab", 50272, MOST_ROWS),
    SIZE("max_position_embeddings", "context", 2048, MOST_ROWS),
    SIZE("hidden_size", "width", 768, MOST_WIDTH),
    SIZE("num_hidden_layers", "layers", 12, MOST_LAYERS),
    SIZE("num_attention_heads", "heads", 12, MOST_WIDTH),
    SIZE("ffn_dim", "ffn", 3072, MOST_WIDTH),
    SIZE("word_embed_proj_dim", "embed", NAN, MOST_WIDTH),
    FLAG("do_layer_norm_before", "pre_norm", 1),
    FIXED("_remove_final_layer_norm", "false"),
    FIXED("activation_function", "relu"),
    FIXED("enable_bias", "true"),
    FIXED("layer_norm_elementwise_affine", "true"),
    RATE("dropout", "dropout", 0.1),
    RATE("attention_dropout", "attention_dropout", 0),
    FIXED("layerdrop", "0"),
    FIXED("tie_word_embeddings", "true"),
};
static const col_hf_class opt_classes[] = {{"OPTForCausalLM", false, true}, {"OPTModel", false, false}};

static const col_hf_field bert_fields[] = {
    SIZE("vocab_size", "vocab", 30522, MOST_ROWS),
    SIZE("max_position_embeddings", "context", 512, MOST_ROWS),
    SIZE("type_vocab_size", "types", 2, MOST_ROWS),
    SIZE("hidden_size", "width", 768, MOST_WIDTH),
    SIZE("num_hidden_layers", "layers", 12, MOST_LAYERS),
    SIZE("num_attention_heads", "heads", 12, MOST_WIDTH),
    SIZE("intermediate_size", "ffn", 3072, MOST_WIDTH),
    FIXED("hidden_act", "gelu"),
    REAL("layer_norm_eps", "eps", 1e-12),
    RATE("hidden_dropout_prob", "dropout", 0.1),
    RATE("attention_probs_dropout_prob", "attention_dropout", 0.1),
    SAME("classifier_dropout", "dropout"),
    FIXED("position_embedding_type", "absolute"),
    FIXED("is_decoder", "false"),
    FIXED("add_cross_attention", "false"),
    FIXED("tie_word_embeddings", "true"),
    LABELS,
};
static const col_hf_class bert_classes[] = {{"BertForMaskedLM", false, true},
                                            {"BertForSequenceClassification", true, true}};

static const col_hf_field vit_fields[] = {
    SIZE("image_size", "size", 224, MOST_WIDTH),
    SIZE("patch_size", "patch", 16, MOST_WIDTH),
    SIZE("num_channels", "channels", 3, MOST_WIDTH),
    SIZE("hidden_size", "width", 768, MOST_WIDTH),
    SIZE("num_hidden_layers", "layers", 12, MOST_LAYERS),
    SIZE("num_attention_heads", "heads", 12, MOST_WIDTH),
    SIZE("intermediate_size", "ffn", 3072, MOST_WIDTH),
    FIXED("hidden_act", "gelu"),
    REAL("layer_norm_eps", "eps", 1e-12),
    RATE("hidden_dropout_prob", "dropout", 0),
    RATE("attention_probs_dropout_prob", "attention_dropout", 0),
    FLAG("qkv_bias", "qkv_bias", 1),
    LABELS,
};
static const col_hf_class vit_classes[] = {{"ViTForImageClassification", true, true}};

static const col_hf_field resnet_fields[] = {
    SIZE("num_channels", "channels", 3, MOST_WIDTH),
    SIZE("embedding_size", "width", 64, MOST_WIDTH),
    WORD("layer_type", "bottleneck", "basic|bottleneck", 1),
    LIST("hidden_sizes", "stage", MOST_WIDTH),
    LIST("depths", "layers", MOST_LAYERS),
    FIXED("hidden_act", "relu"),
    FIXED("downsample_in_first_stage", "false"),
    FIXED("downsample_in_bottleneck", "false"),
    LABELS,
};
static const col_hf_class resnet_classes[] = {{"ResNetForImageClassification", true, true}};

#define TABLES(name) name##_text, name##_classes, COL_COUNT(name##_classes), name##_fields, COL_COUNT(name##_fields)
static const col_hf_family families[] = {
    {"bert", TABLES(bert), "heads", "width", "", NULL},
    {"gpt2", TABLES(gpt2), "heads", "width", "transformer.", NULL},
    {"opt", TABLES(opt), "heads", "width", "", NULL},
    {"resnet", TABLES(resnet), NULL, NULL, "", "cifar"},
    {"vit", TABLES(vit), "heads", "width", "", NULL},
};

/* Fields of config.json, of any model, that say nothing of what is computed, or only how to generate text. */
static const char *const harmless[] = {
    "activation_dropout", "architectures", "attn_implementation", "auto_map", "bad_words_ids", "begin_suppress_tokens", "bos_token_id",
    "chunk_size_feed_forward", "cls_token_id", "cross_attention_hidden_size", "decoder_start_token_id",
    "diversity_penalty", "do_sample", "dtype", "early_stopping", "encoder_no_repeat_ngram_size", "encoder_stride",
    "eos_token_id", "exponential_decay_length_penalty", "finetuning_task", "forced_bos_token_id",
    "forced_eos_token_id", "gradient_checkpointing", "id2label", "init_std", "initializer_factor",
    "initializer_range", "label2id", "length_penalty", "max_length", "min_length", "model_type", "n_ctx",
    "no_repeat_ngram_size", "num_beam_groups", "num_beams", "num_labels", "num_return_sequences", "out_features",
    "out_indices", "output_attentions", "output_hidden_states", "output_past", "output_scores", "pad_token_id",
    "pooler_act", "pooler_fc_size", "pooler_num_attention_heads", "pooler_num_fc_layers", "pooler_output_size",
    "pooler_size_per_head", "pooler_type", "prefix", "remove_invalid_values", "repetition_penalty", "return_dict",
    "return_dict_in_generate", "sep_token_id", "stage_names", "summary_activation", "summary_first_dropout",
    "summary_proj_to_labels", "summary_type", "summary_use_proj", "suppress_tokens", "task_specific_params",
    "temperature", "tf_legacy_loss", "tie_encoder_decoder", "tie_word_embeddings", "tokenizer_class", "top_k",
    "top_p", "torch_dtype", "torchscript", "transformers_version", "typical_p", "unk_token_id", "use_bfloat16",
    "use_cache",
};
/* clang-format on */

const col_hf_family *col_hf_family_find(const char *name)
{
    for (size_t i = 0; i < COL_COUNT(families); i++) {
        if (!strcmp(families[i].name, name)) return &families[i];
    }
    return NULL;
}

const char *col_hf_family_names(col_arena *arena)
{
    const char *text = families[0].name;
    for (size_t i = 1; i < COL_COUNT(families); i++)
        text = col_arena_printf(arena, "%s, %s", text, families[i].name);
    return text;
}

bool col_hf_is_harmless(const char *key)
{
    for (size_t i = 0; i < COL_COUNT(harmless); i++) {
        if (!strcmp(harmless[i], key)) return true;
    }
    return *key == '_'; /* notes that transformers makes to itself */
}
