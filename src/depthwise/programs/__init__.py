"""From a plan to machine code: the only room that imports TVM."""

from depthwise.programs import bindings as bindings  # before anything else imports TVM
