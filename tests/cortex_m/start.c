/* What runs before C on a Cortex-M, the FPU switched on; and memory for the C library. */

#include <stddef.h>
#include <stdint.h>

extern char stack_top[];
extern void _start(void);

static char heap[16384];
static size_t taken;

void *_sbrk(ptrdiff_t more) {
  if (more > (ptrdiff_t)(sizeof heap - taken)) return (void *)-1;
  void *start = heap + taken;
  taken += (size_t)more;
  return start;
}

static void stop(void) {
  for (;;) {
  }
}

static void reset(void) {
#if defined(__ARM_FP)
  *(volatile uint32_t *)0xE000ED88 |= 0xFu << 20;
  __asm volatile("dsb\n isb");
#endif
  _start();
  stop();
}

__attribute__((section(".vectors"), used)) static const void *const vectors[16] = {
    stack_top, (const void *)reset, (const void *)stop, (const void *)stop};
