package vtmigrated;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.DescriptorProtos.DescriptorProto;
import com.google.protobuf.DescriptorProtos.EnumDescriptorProto;
import com.google.protobuf.DescriptorProtos.EnumValueDescriptorProto;
import com.google.protobuf.DescriptorProtos.FieldDescriptorProto;
import com.google.protobuf.DescriptorProtos.FileDescriptorProto;
import com.google.protobuf.DescriptorProtos.FileDescriptorSet;
import com.google.protobuf.DescriptorProtos.MethodDescriptorProto;
import com.google.protobuf.DescriptorProtos.ServiceDescriptorProto;
import com.google.protobuf.Descriptors.FileDescriptor;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/**
 * What proto/ declares is what the official artifact declares. The newest artifact is of Vitess 23 and proto/ of 24: what
 * came since is only here. All of it is compared with the Go module of 24 (integration/stock).
 */
class ContractTest {
  private static final int VTCTLD_RPCS = 129;

  /** One line per field, oneof, enum value and RPC, by its full name, for everything in a set of files. */
  private static Map<String, String> describe(Stream<FileDescriptorProto> files) {
    var lines = new TreeMap<String, String>();
    files.forEach(file -> {
      lines.put("syntax of " + file.getName(), file.getSyntax() + ", package " + file.getPackage());
      file.getMessageTypeList().forEach(message -> describe(message, file.getPackage(), lines));
      file.getEnumTypeList().forEach(type -> describe(type, file.getPackage(), lines));
      file.getServiceList().forEach(service -> describe(service, file.getPackage(), lines));
    });
    return lines;
  }

  private static void describe(DescriptorProto message, String scope, Map<String, String> lines) {
    var name = scope + "." + message.getName();
    lines.put("message " + name, message.getOptions().getMapEntry() ? "map entry" : "message");
    for (FieldDescriptorProto field : message.getFieldList()) {
      var oneof = field.hasOneofIndex() ? message.getOneofDecl(field.getOneofIndex()).getName() : "-";
      lines.put(
          "field " + name + "." + field.getName(),
          "number %d, %s, %s, type name '%s', oneof %s, optional %s, packed %s".formatted(
              field.getNumber(), field.getType(), field.getLabel(), field.getTypeName(), oneof,
              field.getProto3Optional(), field.getOptions().hasPacked() ? field.getOptions().getPacked() : "by default"));
    }
    message.getNestedTypeList().forEach(nested -> describe(nested, name, lines));
    message.getEnumTypeList().forEach(nested -> describe(nested, name, lines));
  }

  private static void describe(EnumDescriptorProto type, String scope, Map<String, String> lines) {
    var name = scope + "." + type.getName();
    lines.put("enum " + name, "allow alias " + type.getOptions().getAllowAlias());
    for (EnumValueDescriptorProto value : type.getValueList()) {
      lines.put("value " + name + "." + value.getName(), Integer.toString(value.getNumber()));
    }
  }

  private static void describe(ServiceDescriptorProto service, String scope, Map<String, String> lines) {
    var name = scope + "." + service.getName();
    lines.put("service " + name, "service");
    for (MethodDescriptorProto method : service.getMethodList()) {
      lines.put(
          "rpc " + name + "." + method.getName(),
          "%s%s -> %s%s".formatted(
              method.getClientStreaming() ? "stream " : "", method.getInputType(),
              method.getServerStreaming() ? "stream " : "", method.getOutputType()));
    }
  }

  private static FileDescriptorSet declared() throws Exception {
    return FileDescriptorSet.parseFrom(Files.readAllBytes(Path.of(Settings.require("descriptors"))));
  }

  /** The files of the artifact by name, with all that they import. */
  private static Map<String, FileDescriptor> official() {
    var files = new TreeMap<String, FileDescriptor>();
    var open = new ArrayList<>(List.of(
        vtctlservice.Vtctlservice.getDescriptor(), tabletmanagerservice.Tabletmanagerservice.getDescriptor(),
        queryservice.Queryservice.getDescriptor(), io.vitess.proto.Vtorcdata.getDescriptor()));
    while (!open.isEmpty()) {
      var file = open.remove(open.size() - 1);
      if (files.put(file.getFullName(), file) == null) {
        open.addAll(file.getDependencies());
      }
    }
    return files;
  }

  @Test
  void everyOfficialDeclarationIsHereAsItIs() throws Exception {
    var declared = declared();
    var official = official();
    var names = declared.getFileList().stream().map(FileDescriptorProto::getName).filter(official::containsKey).toList();
    assertTrue(names.size() >= 15, "the artifact has only " + names);
    var ours = describe(declared.getFileList().stream());
    var theirs = describe(names.stream().map(name -> official.get(name).toProto()));

    var differences = new ArrayList<String>();
    ours.forEach((what, how) -> {
      // these two numbers changed
      var renumbered = what.endsWith(" query.Type.RAW") || what.endsWith(" query.Type.ROW_TUPLE");
      if (theirs.containsKey(what) && !theirs.get(what).equals(how) && !renumbered) {
        differences.add(what + ":\n  ours   " + how + "\n  theirs " + theirs.get(what));
      }
    });
    // Of a message, enum or service that we declare, everything must be there; whole messages that we have no use for
    // may be missing.
    theirs.keySet().stream().filter(what -> !ours.containsKey(what) && !missingWhole(what, ours)).forEach(
        what -> differences.add(what + ": only in the artifact"));
    assertTrue(differences.isEmpty(), String.join("\n", differences));
    assertTrue(ours.size() > 3000, "only " + ours.size() + " declarations compared");
  }

  private static boolean missingWhole(String what, Map<String, String> ours) {
    var kind = what.substring(0, what.indexOf(' '));
    var name = what.substring(what.indexOf(' ') + 1);
    return switch (kind) {
      case "field" -> !ours.containsKey("message " + parent(name));
      case "value" -> !ours.containsKey("enum " + parent(name));
      case "rpc" -> !ours.containsKey("service " + parent(name));
      default -> true;
    };
  }

  private static String parent(String name) {
    return name.substring(0, name.lastIndexOf('.'));
  }

  @Test
  void everyRpcOfVtctldIsDeclared() throws Exception {
    var ours = describe(declared().getFileList().stream());
    var methods = vtctlservice.VtctldGrpc.getServiceDescriptor().getMethods();
    assertEquals(VTCTLD_RPCS, methods.size());
    var missing = methods.stream().map(method -> "rpc vtctlservice.Vtctld." + method.getBareMethodName())
        .filter(rpc -> !ours.containsKey(rpc)).toList();
    assertEquals(List.of(), missing);
  }
}
