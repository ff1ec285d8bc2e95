/* What the page sees of a network of `depthwise export --name classify`: its sizes, where its
   arrays lie, and the function that computes. */
#include "classify.h"

#define EXPORTED(name) __attribute__((export_name(#name))) name

typedef char the_image_has_three_channels[CLASSIFY_IMAGE_CHANNELS == 3 ? 1 : -1];

static unsigned char arena[CLASSIFY_ARENA_BYTES];
static float image_values[CLASSIFY_IMAGE_ELEMENTS];
static float score_values[CLASSIFY_SCORES_ELEMENTS];

int EXPORTED(height)(void) { return CLASSIFY_IMAGE_HEIGHT; }
int EXPORTED(width)(void) { return CLASSIFY_IMAGE_WIDTH; }
int EXPORTED(classes)(void) { return CLASSIFY_SCORES_ELEMENTS; }
float *EXPORTED(image)(void) { return image_values; }
float *EXPORTED(scores)(void) { return score_values; }
void EXPORTED(compute)(void) { classify(image_values, score_values, arena); }
