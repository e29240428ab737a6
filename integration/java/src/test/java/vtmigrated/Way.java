package vtmigrated;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.TreeMap;
import java.util.regex.Pattern;

/** The table of RPCs in docs/rpcs.md: which are served, which on a condition, which are handed on. */
enum Way {
  NATIVE, CONDITIONAL, HANDED_ON;

  private static final Pattern ROW = Pattern.compile("\\| (\\w+) \\| (native|native: .*; else handed on|handed on) \\|");

  /** The way of each RPC by its name. */
  static Map<String, Way> table() throws IOException {
    var ways = new TreeMap<String, Way>();
    for (String line : Files.readAllLines(Path.of("../../docs/rpcs.md"))) {
      var row = ROW.matcher(line);
      if (row.matches()) {
        var way = switch (row.group(2)) {
          case "native" -> NATIVE;
          case "handed on" -> HANDED_ON;
          default -> CONDITIONAL;
        };
        ways.put(row.group(1), way);
      }
    }
    return ways;
  }
}
