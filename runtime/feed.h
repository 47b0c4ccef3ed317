/* What a training run is fed: micro-batches from data on disk, in an order that depends on the seed alone,
 * written into the model's inputs. One type for each kind of data; which one a model takes is told by its
 * inputs.
 *
 * Training samples go on for ever, each epoch in another order; validation samples come once, in the data's
 * order, the last micro-batch filled up with samples whose labels are ignored. A position counts samples. */
#ifndef COL_RUNTIME_FEED_H
#define COL_RUNTIME_FEED_H

#include "runtime/session.h"
#include "runtime/train_settings.h"

typedef struct col_feed col_feed;

typedef struct col_feed_type {
    const char *unit;    /* what speed counts: "tokens", "images" */
    const char *input;   /* the input beside `labels`, ... */
    const char *also[3]; /* ... and others that are fed to models that have them; ends with NULL */
    /* The inputs have the types that this data has. */
    col_status (*check)(const col_plan *plan);
    /* Opens the data and fills in the feed. Without `validates` nothing is kept for validation. */
    col_status (*open)(col_feed *feed, const col_plan *plan, const col_train_settings *settings,
                       bool validates);
    /* Writes the micro-batch of the samples from `first` on, of the training or validation part;
     * `*out_labels` is the number of labels that count. */
    col_status (*write)(col_feed *feed, col_session *session, bool validation, uint64_t first,
                        int64_t *out_labels);
    void (*close)(col_feed *feed);
} col_feed_type;

struct col_feed {
    const col_feed_type *type;
    bool speaks;                 /* prints notices: one of the processes does */
    int64_t batch;               /* samples of a micro-batch */
    int64_t units;               /* tokens or images of a micro-batch */
    const char *shape;           /* of a micro-batch, for people: "4 x 64 tokens" */
    const char *summary;         /* of the data, for people */
    uint64_t validation_samples; /* 0: none */
    uint64_t fingerprint;        /* of the data: a resumed run compares it */
    const char *tokenizer;       /* what a checkpoint says of it: "bytes", a path, "none" */
    col_arena *arena;            /* of the texts */
    void *data;                  /* the type's own */
};

extern const col_feed_type col_feed_text, col_feed_images;

/* The type whose input the plan has (text where it has none), its inputs checked: COL_BAD_INPUT for a model
 * that wants what no data gives. */
COL_MUST_USE col_status col_feed_type_of(const col_plan *plan, const col_feed_type **out_type);
COL_MUST_USE col_status col_feed_open(const col_feed_type *type, const col_plan *plan,
                                      const col_train_settings *settings, bool validates, bool speaks,
                                      col_feed **out_feed);
void col_feed_close(col_feed *feed); /* NULL is fine */

/* Something about the data that a user may want to know, to stderr. `context` is the feed. */
void col_feed_notice(void *context, const char *message);

#endif
